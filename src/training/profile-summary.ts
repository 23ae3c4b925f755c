/** Where the time of some steps went: a profile's events by kind of work, and the longest of them. */
import { percent } from "../support/index.ts";
import type { Profile, ProfileEvent } from "../torch/index.ts";

/**
 * Kinds of work, by words in the names of kernels and operators. The first that fits is it, so what is special comes before what is general:
 * a kernel that adds up in the end of a matrix product belongs to the product that gave it to the device.
 */
const kinds: readonly (readonly [kind: string, words: RegExp])[] = [
  ["exchange between processes", /nccl|gloo|c10d/i],
  ["attention", /attention|flash|fmha|sdpa|scaled_?softmax/i],
  ["optimiser", /adam|multi_tensor|_foreach|_amp_/i],
  ["matrix products", /gemm|gemv|cutlass|nvjet|xmma|cublas|mkldnn|(::|^| )(mm|addmm|bmm|baddbmm|matmul|linear|dot|convolution\w*)\b/i],
  ["norms and heads", /add_?norm|split_?heads|layer_?norm|batch_?norm|GammaBeta/i],
  ["activations", /gelu|relu|threshold|activate|activation|sigmoid/i],
  ["patches", /cut_?patches/i],
  ["rows by number", /embedding|compute_grad_weight|krn_|index|gather|scatter|sort|unique|nonzero|where|masked/i],
  ["softmax and loss", /softmax|nll_loss|(::|_)(log|exp|logsumexp|log1p)(_|\b)/i],
  [
    "copies and casts",
    /memcpy|memset|copy|clone|::cat\b|CatArray|stack|fill|zero|ones|arange|full|repeat|contiguous|empty|::item|_local_scalar/i,
  ],
  ["reductions", /reduce|sum|mean|norm\b|(::|_)(a?max|a?min|argmax|all|any)\b|isfinite|isnan/i],
  [
    "elementwise",
    /elementwise|vectorized|::(add|sub|mul|div|neg|abs|sqrt|rsqrt|pow|reciprocal|clamp|maximum|minimum|[gl][te]|eq|ne|logical|bitwise)\w*/i,
  ],
  ["random numbers", /normal_|uniform_|bernoulli|random|dropout/i],
  [
    "views of tensors",
    /::(_?(unsafe_)?view|select|as_strided|slice|transpose|t|permute|expand|detach|unsqueeze|squeeze|reshape|resolve_\w+|alias|narrow|split|chunk|unbind|flatten|to|result_type)(_as)?\b/i,
  ],
];

/** What autograd does around the operators of a way back, which are called within. */
const autograd = /^autograd::engine|^torch::autograd::(?!CppNode)|Backward\d*$/;

/** Work of one sort, in one step of the mean. */
export interface ProfiledWork {
  name: string;
  seconds: number;
  /** How often. */
  calls: number;
}

/** Means over the steps of a profile. */
export interface ProfileSummary {
  steps: number;
  /** From the beginning of a step to that of the next. */
  seconds: number;
  /** In which batches were waited for. */
  waiting: number;
  /** What works: the GPU, where it has done anything that was seen, or the processor. */
  of: "GPU" | "processor";
  /** In which a GPU does anything; on the processor, in which the program is inside of an operator. */
  busy: number;
  /** Most seconds first. On a GPU, what is done at the same time counts twice. */
  kinds: ProfiledWork[];
  /** By name, most seconds first; with the kind, and the operators of a kernel. */
  longest: (ProfiledWork & { kind: string; operators: string[] })[];
}

/**
 * @param waiting seconds of all the steps together in which batches were waited for
 */
export function summarizeProfile({ events, seconds }: Profile, steps: number, waiting: number): ProfileSummary {
  const there = events.filter(({ onDevice }) => onDevice);
  // Copies alone are no picture of what it did.
  const of = there.some(({ name }) => !/^mem(cpy|set)/i.test(name)) ? "GPU" : "processor";
  const work = of === "GPU" ? there.map((event) => ({ event, own: event.duration })) : ownTimes(events.filter(({ onDevice }) => !onDevice));
  const byKind = new Map<string, ProfiledWork>();
  const byName = new Map<string, ProfiledWork & { kind: string; operators: Set<string> }>();
  const add = (one: ProfiledWork, own: number): void => {
    one.seconds += own / 1e6 / steps;
    one.calls += 1 / steps;
  };
  for (const { event, own } of work) {
    const kind = kindOf(event);
    const { operator } = event;
    const name = plainName(event.name);
    if (!byKind.has(kind)) byKind.set(kind, { name: kind, seconds: 0, calls: 0 });
    add(byKind.get(kind)!, own);
    const key = `${kind} ${name}`;
    if (!byName.has(key)) byName.set(key, { name, kind, operators: new Set(), seconds: 0, calls: 0 });
    const named = byName.get(key)!;
    add(named, own);
    if (operator !== undefined) named.operators.add(plainName(operator));
  }
  const longestFirst = <T extends ProfiledWork>(all: Iterable<T>): T[] => [...all].sort((a, b) => b.seconds - a.seconds);
  return {
    steps,
    seconds: seconds / steps,
    waiting: waiting / steps,
    of,
    busy: covered(work.map(({ event }) => event)) / 1e6 / steps,
    kinds: longestFirst(byKind.values()),
    longest: longestFirst(byName.values())
      .slice(0, 25)
      .map(({ operators, ...one }) => ({ ...one, operators: [...operators] })),
  };
}

/** Tables for people, in Markdown. */
export function profileTables(summary: ProfileSummary): string {
  const { of, steps, seconds, busy, waiting, kinds: byKind, longest } = summary;
  const share = (part: number): string => percent(part / seconds);
  const row = (name: string, part: number, calls: string): string => `| ${name} | ${milliseconds(part)} | ${share(part)} | ${calls} |`;
  const idle = Math.max(0, seconds - busy);
  return [
    `${milliseconds(seconds)} ms a step, the mean of ${steps}; ${milliseconds(waiting)} ms of them the step waited for its batch.`,
    "",
    `| ${of === "GPU" ? "the GPU's" : "the processor's"} work | ms a step | of a step | calls |`,
    "|---|--:|--:|--:|",
    ...byKind.map(({ name, seconds: part, calls }) => row(name, part, calls.toFixed(0))),
    row(of === "GPU" ? "**nothing**" : "**outside of operators**", idle, ""),
    "",
    `| longest | kind | ms a step | of a step | calls |`,
    "|---|---|--:|--:|--:|",
    ...longest.map(({ name, kind, operators, seconds: part, calls }) => {
      const by = operators.length > 0 ? ` (${operators.slice(0, 3).join(", ")}${operators.length > 3 ? ", ..." : ""})` : "";
      return `| \`${cut(name).replaceAll("|", "/")}\`${by} | ${kind} | ${milliseconds(part)} | ${share(part)} | ${calls.toFixed(0)} |`;
    }),
    "",
  ].join("\n");
}

/** More of them keep viewers busy for minutes. */
const mostEvents = 200_000;

/** The events, at most 200,000 (the longest, those of a GPU first), as trace viewers read them: https://ui.perfetto.dev, chrome://tracing. */
export function chromeTrace({ events }: Profile): string {
  const weight = ({ onDevice, duration }: ProfileEvent): number => duration + (onDevice ? 1e12 : 0);
  const shown = events.length <= mostEvents ? events : events.toSorted((a, b) => weight(b) - weight(a)).slice(0, mostEvents);
  const lanes = [
    { ph: "M", name: "process_name", pid: 0, tid: 0, args: { name: "operators" } },
    { ph: "M", name: "process_name", pid: 1, tid: 0, args: { name: "GPU" } },
  ];
  const lines = [
    ...lanes,
    ...shown.map((event) => ({
      ph: "X",
      name: plainName(event.name),
      cat: kindOf(event),
      pid: event.onDevice ? 1 : 0,
      tid: event.lane,
      ts: event.start,
      dur: event.duration,
      ...(event.operator !== undefined && { args: { operator: event.operator } }),
    })),
  ].map((event) => JSON.stringify(event));
  return `{"displayTimeUnit": "ms", "traceEvents": [\n${lines.join(",\n")}\n]}\n`;
}

/** Without the names around that of an operator of our own on its way back, and without what all kernels of libtorch begin with. */
function plainName(name: string): string {
  return name
    .replace(/^torch::autograd::CppNode<(?:.*::)?(\w+)>$/, "$1, backward")
    .replaceAll(/^void |\(anonymous namespace\)::|at::native::/g, "");
}

function kindOf({ name, operator = "", onDevice }: ProfileEvent): string {
  if (!onDevice && autograd.test(name)) return "autograd itself";
  const both = `${operator} ${name}`;
  return kinds.find(([, words]) => words.test(both))?.[0] ?? "other";
}

/** Each event without the time of those inside of it. */
function ownTimes(events: readonly ProfileEvent[]): { event: ProfileEvent; own: number }[] {
  const lanes = new Set(events.map(({ lane }) => lane));
  return [...lanes].flatMap((number) => {
    const open: { event: ProfileEvent; own: number }[] = [];
    // Of two that begin together, the longer is around the other.
    return events
      .filter(({ lane }) => lane === number)
      .sort((a, b) => a.start - b.start || b.duration - a.duration)
      .map((event) => {
        while (open.length > 0 && open.at(-1)!.event.start + open.at(-1)!.event.duration <= event.start) open.pop();
        const around = open.at(-1);
        if (around !== undefined) around.own -= event.duration;
        const found = { event, own: event.duration };
        open.push(found);
        return found;
      });
  });
}

/** Microseconds in which at least one of them is under way. */
function covered(events: readonly ProfileEvent[]): number {
  let [all, end] = [0, -Infinity];
  for (const { start, duration } of events.toSorted((a, b) => a.start - b.start)) {
    all += Math.max(0, start + duration - Math.max(start, end));
    end = Math.max(end, start + duration);
  }
  return all;
}

function milliseconds(seconds: number): string {
  return (1000 * seconds).toFixed(seconds < 0.1 ? 2 : 1);
}

/** A kernel's name has all its types. */
function cut(name: string): string {
  return name.length <= 140 ? name : `${name.slice(0, 137)}...`;
}
