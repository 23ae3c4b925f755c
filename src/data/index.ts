/** From files to training batches: captions and their rewrites, the caption choice, the order of samples, the loader. */
export { HashedKeys, hash64 } from "./hashed-keys.ts";
export * from "./bit-set.ts";
export * from "./finished-rewrites.ts";
export * from "./captions-fingerprint.ts";
export * from "./rewrites-folder.ts";
export * from "./rewrites-writer.ts";
export * from "./caption-table.ts";
export * from "./hashed-ids.ts";
export * from "./captions.ts";
export * from "./class-lists.ts";
export * from "./class-names.ts";
export * from "./join-rewrites.ts";
export { type OpenPairsOptions, type Pairs, type SkippedRows, openPairs } from "./pairs.ts";
export {
  type AnnotationKeys,
  type AnnotationRow,
  annotationFiles,
  annotationIdsFrom,
  annotationRows,
  isAnnotated,
} from "./annotation-rows.ts";
export * from "./same-text-key.ts";
export * from "./sample.ts";
export { type FilePart, type ImageSource, type RawPixels, imageInput, imageName } from "./image-source.ts";
export * from "./held-images.ts";
export { SampleTable, SampleTableBuilder } from "./sample-table.ts";
export { imageSuffixes, isPlainTar, noteSamples, type NotedSample } from "./note-samples.ts";
export { type OpenTarPairsOptions, openTarPairs } from "./tar-pairs.ts";
export * from "./shard-index.ts";
export { besideTar, defaultIdColumn, indexBeside, readIfThere } from "./index-beside.ts";
export * from "./webdataset.ts";
export * from "./json-texts.ts";
export { MemberTexts, type MemberTextOptions, captionKey, sourceOfKey, textMembers } from "./member-texts.ts";
export * from "./strict-text.ts";
export { fileNameOf, isAddress, shownAddress } from "./remote/address.ts";
export { absoluteShards, listShards, namesTars, shownShards } from "./remote/list-shards.ts";
export type { Shard } from "./remote/list-shards.ts";
export { openBytes } from "./remote/open-bytes.ts";
export type { Patience } from "./remote/patience.ts";
export { readShard } from "./remote/read-shard.ts";
export type { ReadShardOptions } from "./remote/read-shard.ts";
export type { BytesOptions, OpenedBytes } from "./remote/resumed-bytes.ts";
export { TextColumn, TextColumnBuilder } from "./text-column.ts";
export * from "./labelled-folder.ts";
export { type ListedImages, openImageFolder, openImageTable } from "./listed-images.ts";
export * from "./loader.ts";
export { type EvaluationBatch, type EvaluationItem } from "./evaluation-images.ts";
export { type Batch, type BatchSettings, batchSettings } from "./training-batches.ts";
export * from "./training-samples.ts";
export { type LookedUpRewrites, lookUpRewrites } from "./rewrites-lookup.ts";
export { countSamples, type CountedShard } from "./shards/count-samples.ts";
export { probeShards, type ShardProbe } from "./shards/probe-shards.ts";
export * from "./skipped-images.ts";
export * from "./batch-stream.ts";
