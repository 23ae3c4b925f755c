/** Messages against the examples of Protocol Buffers' own description of its encoding. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Message } from "./protobuf.ts";

const hex = (message: Message): string => Buffer.concat([...message.parts()]).toString("hex");

test("whole numbers are written seven bits a byte, negative ones as 64 bits", () => {
  assert.equal(hex(new Message().number(1, 150)), "089601");
  assert.equal(hex(new Message().number(1, 0)), "0800");
  assert.equal(hex(new Message().number(1, 127).number(1, 128)), "087f088001");
  assert.equal(hex(new Message().number(1, -2)), "08feffffffffffffffff01");
  assert.equal(hex(new Message().number(20, 2 ** 53 - 1)), "a001ffffffffffffff0f");
});

test("texts, floats and messages in messages", () => {
  assert.equal(hex(new Message().bytes(2, "testing")), "120774657374696e67");
  assert.equal(hex(new Message().float(2, 1)), "150000803f");
  assert.equal(hex(new Message().bytes(3, new Message().number(1, 150))), "1a03089601");
  assert.equal(hex(new Message().bytes(1, "é")), "0a02c3a9");
});

test("bytes that are made later are made when they are written, once, and have to be as many as announced", () => {
  let made = 0;
  const later = { byteLength: 3, make: () => Uint8Array.of(++made, 2, 3) };
  const message = new Message().bytes(3, new Message().bytes(9, later));
  assert.deepEqual([made, message.byteLength], [0, 7]);
  assert.equal(hex(message), "1a054a03010203");
  assert.equal(made, 1);
  assert.throws(() => hex(new Message().bytes(1, { byteLength: 2, make: () => Uint8Array.of(1) })), /1 bytes were made where 2/);
});
