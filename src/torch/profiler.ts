/** What the processor and a device do, and when: libtorch's profiler. */
import { synchronize } from "./device.ts";
import { guard, native } from "./native.ts";

/** An operator on the processor, or what a device did: a kernel or a copy. */
export interface ProfileEvent {
  name: string;
  onDevice: boolean;
  /** Stream of the device, or thread of the processor. */
  lane: number;
  /** Microseconds since the first event. */
  start: number;
  /** Microseconds. */
  duration: number;
  /** Operator that gave this to the device, where that is known. Those of a recorded graph have none. */
  operator?: string | undefined;
}

/** What was done between the start and the end of a profile. */
export interface Profile {
  events: ProfileEvent[];
  /** Seconds from the start until the device had done what it was given. */
  seconds: number;
}

/**
 * Records what this thread's operators do until the function that it returns is called. That takes time of its own
 * for each operator.
 * @throws NativeError when a profile is recorded already
 */
export function startProfile(device: string): () => Profile {
  synchronize(device);
  guard(() => native().startProfile(device));
  const started = performance.now();
  return () => {
    synchronize(device);
    const seconds = (performance.now() - started) / 1000;
    const { names, events } = guard(() => native().endProfile());
    const width = 6;
    const nameAt = (event: number): string => names[events[event * width]!]!;
    const count = events.length / width;
    return {
      seconds,
      events: Array.from({ length: count }, (_, i) => {
        const [, onDevice, lane, start, duration, operator] = events.subarray(i * width, (i + 1) * width) as unknown as number[];
        return {
          name: nameAt(i),
          onDevice: onDevice === 1,
          lane: lane!,
          start: start! / 1000,
          duration: duration! / 1000,
          ...(operator! >= 0 && { operator: nameAt(operator!) }),
        };
      }),
    };
  };
}
