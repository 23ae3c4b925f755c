/**
 * Which of how many processes this one is, and where they meet: from the variables that launchers set.
 *
 * Known are torchrun's (RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT; also of Kubernetes' PyTorchJob), Slurm's (srun(1),
 * "OUTPUT ENVIRONMENT VARIABLES"), those of Kubernetes' Indexed Jobs (JOB_COMPLETION_INDEX), and `laclip launch`'s own: torchrun's, with
 * LACLIP_MEET, a file, in place of the address, so that nothing listens for other machines. The first that say a rank win, in the order
 * torchrun, Slurm, Kubernetes: torchrun may itself be started by the others.
 */
import { UsageError } from "../support/index.ts";

/** Where ranks meet: at a TCP address that rank 0 serves, or in a file of this machine. */
export type MeetingPlace =
  | {
      kind: "tcp";
      host: string;
      port: number;
      /** False when the launcher serves the address itself, as torchrun's agent does. */
      served: boolean;
    }
  | { kind: "file"; path: string };

/** A process among those that train together. */
export interface Place {
  /** Number of this process, from 0. */
  rank: number;
  /** Processes in all. */
  ranks: number;
  /** Number of this process on its machine, from 0: its GPU. */
  localRank: number;
  meeting: MeetingPlace;
  /** Differs between attempts of a launcher that starts everyone again: they must not meet those of before. */
  attempt: string;
  /** In words, which variables said so. */
  from: string;
}

type Variables = Readonly<Record<string, string | undefined>>;

/** torchrun's default. */
const defaultPort = 29500;

/**
 * The place that the variables give this process; undefined when they name none, or one process alone.
 * @param variables default: those of the process
 * @throws UsageError when they contradict each other, are no numbers, or leave open who meets where
 */
export function findPlace(variables: Variables = process.env): Place | undefined {
  const known = ofTorchrun(variables) ?? ofSlurm(variables) ?? ofKubernetes(variables);
  if (known === undefined) {
    if (given(variables, "WORLD_SIZE") && whole(variables, "WORLD_SIZE")! > 1) {
      throw new UsageError(`WORLD_SIZE=${variables["WORLD_SIZE"]} says that several processes train together, but not which this one is.`, {
        mend: "Set RANK (0 to WORLD_SIZE - 1) in each of them, or unset WORLD_SIZE to train alone.",
      });
    }
    return undefined;
  }
  const { rank, ranks, localRank, from } = known;
  if (ranks < 1 || rank >= ranks) {
    throw new UsageError(`${from}: ranks are counted from 0, so that of ${ranks} processes the last has rank ${ranks - 1}; got ${rank}.`);
  }
  if (localRank >= ranks) throw new UsageError(`${from}: the rank on this machine is ${localRank}, of ${ranks} processes in all.`);
  if (ranks === 1) return undefined;
  return { rank, ranks, localRank, from, meeting: meetingPlace(variables, known), attempt: variables["TORCHELASTIC_RESTART_COUNT"] ?? "0" };
}

/**
 * Number of this process among those that a launcher has started on its machine, from 0; 0 where no variable says so. For work that each
 * does by itself: whether the variables say where all meet is of no matter.
 * @param variables default: those of the process
 */
export function findLocalRank(variables: Variables = process.env): number {
  const said = ["LOCAL_RANK", "SLURM_LOCALID"].map((name) => variables[name] ?? "");
  return Number(said.find((value) => /^\d+$/.test(value)) ?? 0);
}

interface Known {
  rank: number;
  ranks: number;
  localRank: number;
  from: string;
  /** Where rank 0 is, as far as these variables say. */
  host?: string | undefined;
  port?: number | undefined;
}

function ofTorchrun(variables: Variables): Known | undefined {
  const rank = whole(variables, "RANK");
  if (rank === undefined) return undefined;
  const ranks = whole(variables, "WORLD_SIZE");
  if (ranks === undefined) {
    throw new UsageError(`RANK=${rank} says which process this is, but not of how many.`, {
      mend: "Set WORLD_SIZE too, or unset RANK to train alone.",
    });
  }
  const index = whole(variables, "JOB_COMPLETION_INDEX");
  const onMachine = whole(variables, "LOCAL_WORLD_SIZE") ?? 1;
  if (index !== undefined && onMachine === 1 && index !== rank) {
    throw new UsageError(`RANK=${rank} and JOB_COMPLETION_INDEX=${index} contradict each other.`, {
      mend: "Leave RANK out: in an Indexed Job, the index is the rank.",
    });
  }
  const localRank = whole(variables, "LOCAL_RANK") ?? 0;
  if (given(variables, "LOCAL_WORLD_SIZE") && localRank >= onMachine) {
    throw new UsageError(`LOCAL_RANK=${localRank} and LOCAL_WORLD_SIZE=${onMachine} contradict each other.`);
  }
  return { rank, ranks, localRank, from: shown(variables, ["RANK", "WORLD_SIZE", "LOCAL_RANK"]) };
}

function ofSlurm(variables: Variables): Known | undefined {
  const rank = whole(variables, "SLURM_PROCID");
  if (rank === undefined) return undefined;
  const ranks = whole(variables, "SLURM_NTASKS");
  if (ranks === undefined) return undefined; // a shell within an allocation, no task
  const worldSize = whole(variables, "WORLD_SIZE");
  if (worldSize !== undefined && worldSize !== ranks) {
    throw new UsageError(`WORLD_SIZE=${worldSize} and SLURM_NTASKS=${ranks} contradict each other.`, {
      mend: "Unset WORLD_SIZE to go by Slurm, or set RANK as well to go by torchrun's variables.",
    });
  }
  const job = whole(variables, "SLURM_JOB_ID") ?? whole(variables, "SLURM_JOBID");
  return {
    rank,
    ranks,
    localRank: whole(variables, "SLURM_LOCALID") ?? 0,
    from: shown(variables, ["SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID"]),
    host: firstHost(variables["SLURM_JOB_NODELIST"] ?? variables["SLURM_NODELIST"] ?? ""),
    // Jobs that share a machine should not meet each other.
    port: job === undefined ? undefined : 20_000 + (job % 20_000),
  };
}

function ofKubernetes(variables: Variables): Known | undefined {
  const rank = whole(variables, "JOB_COMPLETION_INDEX");
  const ranks = whole(variables, "WORLD_SIZE");
  // Without WORLD_SIZE it is a job whose tasks have nothing to do with each other.
  if (rank === undefined || ranks === undefined) return undefined;
  return { rank, ranks, localRank: 0, from: shown(variables, ["JOB_COMPLETION_INDEX", "WORLD_SIZE"]) };
}

function meetingPlace(variables: Variables, known: Known): MeetingPlace {
  const file = variables["LACLIP_MEET"];
  if (file !== undefined && file !== "") return { kind: "file", path: file };
  const host = variables["MASTER_ADDR"] ?? known.host;
  if (host === undefined || host === "") {
    throw new UsageError(`${known.from}: the processes know their ranks, but not where to meet.`, {
      mend: "Set MASTER_ADDR to the name or address of the machine of rank 0, and MASTER_PORT to a free port there. On one machine, `laclip launch` does all this.",
    });
  }
  const port = whole(variables, "MASTER_PORT") ?? known.port ?? defaultPort;
  if (port < 1 || port > 65_535) throw new UsageError(`MASTER_PORT=${port}: expected a port, 1 to 65535.`);
  return { kind: "tcp", host, port, served: variables["TORCHELASTIC_USE_AGENT_STORE"] !== "True" };
}

/** The first host of a list as Slurm writes it: `gpu[007-010,12],login` begins with `gpu007`. Undefined for an empty one. */
export function firstHost(list: string): string | undefined {
  const [, name, range, tail] = /^([^,[\]]+)(?:\[([^\]]*)\]([^,]*))?/.exec(list) ?? [];
  if (name === undefined) return undefined;
  if (range === undefined) return name;
  return `${name}${/^[^-,]*/.exec(range)![0]}${tail ?? ""}`;
}

function given(variables: Variables, name: string): boolean {
  return variables[name] !== undefined && variables[name] !== "";
}

function whole(variables: Variables, name: string): number | undefined {
  if (!given(variables, name)) return undefined;
  const value = Number(variables[name]);
  if (!Number.isInteger(value) || value < 0)
    throw new UsageError(`${name}: expected a whole number of at least 0, got "${variables[name]}".`);
  return value;
}

function shown(variables: Variables, names: readonly string[]): string {
  return names.flatMap((name) => (given(variables, name) ? [`${name}=${variables[name]}`] : [])).join(", ");
}
