/**
 * Which faults are those of a machine: its flags, disk, captions or model, or a server that it asks.
 *
 * They would meet every shard that this machine takes, and another machine may do the same shard without any. So they end a worker and
 * count against no shard.
 */
import { OtherSettingsError } from "../../data/index.ts";
import { DataError, EndpointError, LaclipError, ModelFormatError, UsageError, exitCodes } from "../../support/index.ts";
import { RefusedRequest } from "../engines/server-answers.ts";

/** The captions of this machine are not those of the plan: nothing that this worker could do would be right. */
export class OtherCaptionsError extends DataError {}

/** A plan could not be opened: whatever it was, no shard was looked at. */
export class NotOpened extends Error {
  constructor(cause: unknown) {
    super("not opened", { cause });
  }
}

/** Whether what went wrong would have gone wrong with every shard here, and so says nothing against this one. */
export function isOfThisMachine(error: unknown): boolean {
  if (error instanceof NotOpened || error instanceof UsageError || error instanceof ModelFormatError) return true;
  // Another model, or other captions, than those that wrote the shards that are there.
  if (error instanceof OtherSettingsError) return true;
  // Neither an input nor a flag is to blame: the disk is full or read-only, memory is short, the tensor library fails.
  if (LaclipError.is(error) && error.exitCode === exitCodes.failure) return true;
  // A server that is away, or fails, does so for all shards; requests that it refuses are the shard's.
  return error instanceof EndpointError && !(error.cause instanceof RefusedRequest);
}
