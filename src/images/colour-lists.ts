/** What is left to do to the colours of many views, as two small arrays that pass between threads beside the views' pixels. */
import { invariant } from "../support/index.ts";
import { type ColourChange, changeKinds } from "./colour-changes.ts";

/** Most changes of one view: SLIP makes six at most. */
export const listRoom = 6;

/** For each view a list of changes in their order, filled up with nothing. */
export interface ColourLists {
  /** `[views, listRoom]`: places in `changeKinds`, counted from 1; 0 is nothing */
  kinds: Uint8Array;
  /** `[views, listRoom]`: the amount of each, see `ColourChange` */
  amounts: Float64Array;
}

/** Empty lists of so many views. */
export function emptyColourLists(views: number): ColourLists {
  return { kinds: new Uint8Array(views * listRoom), amounts: new Float64Array(views * listRoom) };
}

/** Puts the list of a view in the place of what it had. @param changes at most `listRoom` */
export function setColourList({ kinds, amounts }: ColourLists, view: number, changes: readonly ColourChange[]): void {
  invariant(changes.length <= listRoom, `${changes.length} changes of colour in a list of ${listRoom}`);
  for (let i = 0; i < listRoom; i++) {
    const change = changes[i];
    kinds[view * listRoom + i] = change === undefined ? 0 : changeKinds.indexOf(change.kind) + 1;
    amounts[view * listRoom + i] = change?.amount ?? 0;
  }
}

/** The list of a view. */
export function colourList({ kinds, amounts }: ColourLists, view: number): ColourChange[] {
  const own = kinds.subarray(view * listRoom, (view + 1) * listRoom);
  const end = own.includes(0) ? own.indexOf(0) : listRoom;
  return Array.from(own.subarray(0, end), (kind, i) => ({ kind: changeKinds[kind - 1]!, amount: amounts[view * listRoom + i]! }));
}
