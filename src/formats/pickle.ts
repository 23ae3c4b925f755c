/**
 * Python's pickles, read as data (Python's `pickletools` describes the codes): CIFAR's batches and PyTorch's files lie in them.
 *
 * A pickle is a program that may call any function. Here nothing is called: what would be a call becomes a `PickledCall` that says which
 * function or class with which arguments, and the caller takes those that it knows. Numbers, texts, bytes, lists, tuples, sets and
 * dictionaries become values. Text of Python 2 is bytes.
 */
import { DataError } from "../support/index.ts";

/** A function or class of Python, by its name: "numpy.dtype". */
export class PickledName {
  constructor(readonly name: string) {}
}

/** A call that the pickle asks for; it was not made. */
export class PickledCall {
  /** What the new object's `__setstate__` would be given. */
  state: PickledValue | undefined;
  /** Pairs that were put into it: it is of a class of dictionaries, such as `collections.defaultdict`. */
  pairs: Map<PickledValue, PickledValue> | undefined;
  /** What was appended to it: it is of a class of lists. */
  items: PickledValue[] | undefined;

  constructor(
    readonly name: string,
    readonly args: readonly PickledValue[],
  ) {}
}

/** Something that lies outside of the pickle, by what the pickle calls it. */
export class PickledReference {
  constructor(readonly id: PickledValue) {}
}

/** What a pickle holds. Lists, tuples and sets are arrays, dictionaries are maps. */
export type PickledValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | PickledValue[]
  | Map<PickledValue, PickledValue>
  | PickledName
  | PickledCall
  | PickledReference;

/**
 * The value in a pickle of protocol 2 to 5. Bytes are parts of `bytes`, so that their place in the file is known.
 *
 * @param name what messages call it
 * @throws DataError when it is no pickle, cut short, damaged, or holds a code that data have no need of
 */
export function readPickle(bytes: Uint8Array, name: string): PickledValue {
  return new PickleReader(bytes, name).read();
}

/** The place on the stack where the parts of a list, tuple or dictionary begin. */
const mark = Symbol("mark");

class PickleReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #name: string;
  readonly #stack: (PickledValue | typeof mark)[] = [];
  readonly #memo = new Map<number, PickledValue>();
  #at = 0;

  constructor(bytes: Uint8Array, name: string) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#name = name;
  }

  read(): PickledValue {
    if (this.#bytes[0] !== 0x80) throw this.#refuse("not a pickle of protocol 2 or later");
    for (let code = this.#byte(); code !== 0x2e; code = this.#byte()) {
      if (!this.#plain(code) && !this.#gathering(code)) {
        throw this.#refuse(`code 0x${code.toString(16)} at byte ${this.#at - 1} is none that data have need of`);
      }
    }
    return this.#pop();
  }

  /** Codes that put one value on the stack, or only talk of how the pickle is written. */
  #plain(code: number): boolean {
    switch (code) {
      case 0x80: // protocol
        this.#byte();
        return true;
      case 0x95: // frame
        this.#take(8);
        return true;
      case 0x4e:
        return this.#push(null);
      case 0x88:
        return this.#push(true);
      case 0x89:
        return this.#push(false);
      case 0x4b:
        return this.#push(this.#byte());
      case 0x4d:
        return this.#push(this.#short());
      case 0x4a:
        return this.#push(this.#size() | 0);
      case 0x8a:
        return this.#push(this.#long(this.#byte()));
      case 0x47:
        return this.#push(this.#double());
      case 0x55: // text of Python 2, up to 255 bytes and longer
      case 0x43: // bytes
        return this.#push(this.#take(this.#byte()));
      case 0x54:
      case 0x42:
        return this.#push(this.#take(this.#size()));
      case 0x8e:
      case 0x96: // bytes and bytearray with a length of eight bytes
        return this.#push(this.#take(this.#longSize()));
      case 0x8c:
        return this.#push(this.#text(this.#byte()));
      case 0x58:
        return this.#push(this.#text(this.#size()));
      case 0x8d:
        return this.#push(this.#text(this.#longSize()));
      case 0x63:
        return this.#push(new PickledName(`${this.#line()}.${this.#line()}`));
      case 0x71: // to the memo, and from it
        return this.#remember(this.#byte());
      case 0x72:
        return this.#remember(this.#size());
      case 0x94:
        return this.#remember(this.#memo.size);
      case 0x68:
        return this.#recall(this.#byte());
      case 0x6a:
        return this.#recall(this.#size());
      default:
        return false;
    }
  }

  /** Codes that make one value of several on the stack. */
  #gathering(code: number): boolean {
    switch (code) {
      case 0x28:
        this.#stack.push(mark);
        return true;
      case 0x5d: // lists and sets
      case 0x8f:
        return this.#push([]);
      case 0x7d:
        return this.#push(new Map());
      case 0x29:
        return this.#push([]);
      case 0x85:
      case 0x86:
      case 0x87:
        return this.#push(this.#popMany(code - 0x84));
      case 0x74:
      case 0x91:
        return this.#push(this.#popToMark());
      case 0x61:
        return this.#append([this.#pop()]);
      case 0x65:
      case 0x90:
        return this.#append(this.#popToMark());
      case 0x73:
        return this.#set(this.#popMany(2));
      case 0x75:
        return this.#set(this.#popToMark());
      case 0x93: {
        const [module, name] = this.#popMany(2);
        if (typeof module !== "string" || typeof name !== "string") throw this.#damaged();
        return this.#push(new PickledName(`${module}.${name}`));
      }
      case 0x51:
        return this.#push(new PickledReference(this.#pop()));
      case 0x52: // a call, and a new object of a class
      case 0x81: {
        const [called, args] = this.#popMany(2);
        // A class within a class is itself what a call of `getattr` would give.
        if (!(called instanceof PickledName || called instanceof PickledCall) || !Array.isArray(args)) throw this.#damaged();
        // A dictionary for all that is read here: it gets its pairs by the codes of one.
        const isDictionary = called.name === "collections.OrderedDict" && args.length === 0;
        return this.#push(isDictionary ? new Map() : new PickledCall(called.name, args));
      }
      case 0x62: {
        const state = this.#pop();
        const made = this.#top();
        if (made instanceof Map) return true; // attributes of a dictionary: PyTorch notes versions of layers there
        if (!(made instanceof PickledCall)) throw this.#damaged();
        made.state = state;
        return true;
      }
      default:
        return false;
    }
  }

  #push(value: PickledValue): true {
    this.#stack.push(value);
    return true;
  }

  #top(): PickledValue {
    const value = this.#stack.at(-1);
    if (value === undefined || value === mark) throw this.#damaged();
    return value;
  }

  #pop(): PickledValue {
    const value = this.#top();
    this.#stack.pop();
    return value;
  }

  #popMany(count: number): PickledValue[] {
    return Array.from({ length: count }, () => this.#pop()).toReversed();
  }

  #popToMark(): PickledValue[] {
    const at = this.#stack.lastIndexOf(mark);
    if (at < 0) throw this.#damaged();
    return this.#stack.splice(at).slice(1) as PickledValue[];
  }

  #append(values: readonly PickledValue[]): true {
    const made = this.#top();
    const list = made instanceof PickledCall ? (made.items ??= []) : made;
    if (!Array.isArray(list)) throw this.#damaged();
    for (const value of values) list.push(value);
    return true;
  }

  #set(pairs: readonly PickledValue[]): true {
    const made = this.#top();
    const map = made instanceof PickledCall ? (made.pairs ??= new Map()) : made;
    if (!(map instanceof Map) || pairs.length % 2 !== 0) throw this.#damaged();
    for (let i = 0; i < pairs.length; i += 2) map.set(pairs[i]!, pairs[i + 1]!);
    return true;
  }

  #remember(index: number): true {
    this.#memo.set(index, this.#top());
    return true;
  }

  #recall(index: number): true {
    const value = this.#memo.get(index);
    if (value === undefined) throw this.#damaged();
    return this.#push(value);
  }

  #take(count: number): Uint8Array {
    if (this.#at + count > this.#bytes.byteLength) throw this.#refuse("the pickle is cut short");
    return this.#bytes.subarray(this.#at, (this.#at += count));
  }

  #byte(): number {
    return this.#take(1)[0]!;
  }

  #short(): number {
    this.#take(2);
    return this.#view.getUint16(this.#at - 2, true);
  }

  #size(): number {
    this.#take(4);
    return this.#view.getUint32(this.#at - 4, true);
  }

  #longSize(): number {
    this.#take(8);
    return Number(this.#view.getBigUint64(this.#at - 8, true));
  }

  #double(): number {
    this.#take(8);
    return this.#view.getFloat64(this.#at - 8, false);
  }

  /** A number of any length, its lowest byte first, in two's complement. */
  #long(length: number): bigint {
    const bits = this.#take(length).toReversed();
    return BigInt.asIntN(8 * length, BigInt(`0x0${Buffer.from(bits).toString("hex")}`));
  }

  #text(length: number): string {
    return Buffer.from(this.#take(length)).toString("utf8");
  }

  #line(): string {
    const end = this.#bytes.indexOf(0x0a, this.#at);
    const line = this.#take((end < 0 ? this.#bytes.byteLength : end) - this.#at);
    this.#take(1);
    return Buffer.from(line).toString("latin1");
  }

  #damaged(): DataError {
    return this.#refuse(`the pickle is damaged before byte ${this.#at}`);
  }

  #refuse(what: string): DataError {
    return new DataError(`${this.#name}: ${what}.`, { mend: "Unpack or fetch the file again." });
  }
}
