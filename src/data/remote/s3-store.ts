/**
 * S3 and its like, through the client library of AWS (why that one: docs/decisions/0005-client-of-s3.md), which is loaded when the first bucket is named.
 *
 * Keys, region and endpoint come from where every program for S3 takes them: the environment, the profiles in ~/.aws, the role of the
 * machine. What the library would do about broken connections is turned off; src/data/remote/patience.ts does it for all servers alike.
 */
import type { ListObjectsV2CommandOutput, S3Client, S3ServiceException } from "@aws-sdk/client-s3";
import { DataError, EndpointError, LaclipError, UsageError } from "../../support/index.ts";
import { PassingFailure, retryAfter } from "./patience.ts";

type Library = typeof import("@aws-sdk/client-s3");

/** An object, or what objects' keys begin with. */
export interface S3Place {
  readonly bucket: string;
  readonly key: string;
}

export interface S3Object {
  readonly key: string;
  /** Bytes. */
  readonly size: number | undefined;
}

/**
 * Reads `s3://BUCKET/KEY`.
 * @throws UsageError when there is no bucket in it
 */
export function parseS3(address: string): S3Place {
  const found = /^s3:\/\/([a-z0-9][a-z0-9._-]+)(?:\/(.*))?$/is.exec(address);
  if (!found) throw new UsageError(`An address that begins with s3:// names no bucket; expected s3://BUCKET/KEY.`);
  return { bucket: found[1]!, key: found[2] ?? "" };
}

export class S3Store {
  private constructor(
    readonly library: Library,
    readonly client: S3Client,
  ) {}

  static #shared: Promise<S3Store> | undefined;

  /**
   * The one that everything shares.
   * @throws UsageError when the client library is not installed
   */
  static async shared(): Promise<S3Store> {
    return await (S3Store.#shared ??= S3Store.fromEnvironment());
  }

  /**
   * A client by the settings of the environment: `AWS_REGION` (or `AWS_DEFAULT_REGION`), `AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL`,
   * `AWS_PROFILE` and the like; `LACLIP_S3_ANONYMOUS=1` reads public buckets without keys.
   */
  static async fromEnvironment(): Promise<S3Store> {
    const library = await loadLibrary();
    const { env } = process;
    const endpoint = env["AWS_ENDPOINT_URL_S3"] || env["AWS_ENDPOINT_URL"];
    const settings = {
      maxAttempts: 1,
      // A bucket of another region is found by its answer.
      followRegionRedirects: true,
      // What other makers' stores understand.
      ...(endpoint ? { endpoint, forcePathStyle: true } : {}),
      responseChecksumValidation: "WHEN_REQUIRED",
      ...(env["LACLIP_S3_ANONYMOUS"] === "1"
        ? {
            credentials: { accessKeyId: "none", secretAccessKey: "none" },
            signer: { sign: async <T>(request: T) => await Promise.resolve(request) },
          }
        : {}),
    } as const;
    const region = env["AWS_REGION"] || env["AWS_DEFAULT_REGION"];
    const client = new library.S3Client({ ...settings, ...(region ? { region } : {}) });
    try {
      await client.config.region();
      return new S3Store(library, client);
    } catch {
      // No region anywhere: other makers' stores don't need one, and AWS names the right one in its answer to any.
      return new S3Store(library, new library.S3Client({ ...settings, region: "us-east-1" }));
    }
  }

  /**
   * One page of the objects whose keys begin with this prefix, in the order of their keys.
   * @returns `next` to ask for the page after it; undefined after the last
   */
  async list(
    { bucket, key }: S3Place,
    next: string | undefined,
    signal: AbortSignal,
  ): Promise<{ objects: S3Object[]; next: string | undefined }> {
    const command = new this.library.ListObjectsV2Command({
      Bucket: bucket,
      Prefix: key,
      ...(next === undefined ? {} : { ContinuationToken: next }),
    });
    let page: ListObjectsV2CommandOutput;
    try {
      page = await this.client.send(command, { abortSignal: signal });
    } catch (error) {
      throw explainS3(error, `s3://${bucket}/${key}`, { bucket });
    }
    const objects = (page.Contents ?? []).flatMap(({ Key, Size }) => (Key === undefined ? [] : [{ key: Key, size: Size }]));
    return { objects, next: page.IsTruncated ? page.NextContinuationToken : undefined };
  }
}

async function loadLibrary(): Promise<Library> {
  // The version is fixed: which Node a later one needs is no concern of whoever runs this one.
  process.env["AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED"] ??= "true";
  try {
    return await import("@aws-sdk/client-s3");
  } catch (error) {
    throw new UsageError("Addresses that begin with s3:// need the package @aws-sdk/client-s3, which is not installed.", {
      mend: "`npm install @aws-sdk/client-s3` where laclip is installed. Optional packages were left out there.",
      cause: error,
    });
  }
}

/**
 * What a failure of the client library means: an error of the family when it stays, else one that may pass.
 * @param request what was asked, for the words
 */
export function explainS3(error: unknown, shown: string, request: { bucket: string; from?: number | undefined }): Error {
  if (LaclipError.is(error) || error instanceof PassingFailure) return error;
  const { name, message, $metadata, $response } = error as S3ServiceException;
  if (/Credentials|TokenProvider|SSO/.test(name) && $metadata?.httpStatusCode === undefined) {
    return new UsageError(`${shown}: no keys for S3 were found (${message.split("\n", 1)[0]}).`, {
      mend: "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; for a public bucket LACLIP_S3_ANONYMOUS=1.",
      cause: error,
    });
  }
  const status = $metadata?.httpStatusCode;
  if (status === undefined) return error as Error;
  if (status === 412) {
    return new DataError(`${shown}: this file has changed while it was read.`, {
      mend: "Let nobody write to the data, and start again.",
      cause: error,
    });
  }
  if (status === 416)
    return new DataError(`${shown}: byte ${request.from} was asked for, the file has fewer. It may have changed.`, { cause: error });
  if (name === "NoSuchBucket") return new DataError(`${shown}: there is no bucket "${request.bucket}".`, { cause: error });
  if (status === 404) {
    return new DataError(`${shown}: no such file in this bucket.`, {
      mend: "A folder of shards is written with a / at its end.",
      cause: error,
    });
  }
  // The client corrects its clock by the answer.
  if (status === 408 || status === 429 || status >= 500 || name === "RequestTimeTooSkewed") {
    const headers = ($response as { headers?: Record<string, string> } | undefined)?.headers;
    return new PassingFailure(`the store answered ${status} (${name})`, retryAfter(headers?.["retry-after"]), error);
  }
  const closed = status === 401 || status === 403 || /Token|AccessKey|Signature/.test(name);
  return new EndpointError(`${shown}: the store answered ${status} (${name}).`, {
    mend: closed
      ? "Check the keys and what they may read (GetObject, and ListBucket for folders); for a public bucket LACLIP_S3_ANONYMOUS=1."
      : "Check the address, AWS_REGION, and AWS_ENDPOINT_URL where the store is not AWS's.",
    cause: error,
  });
}
