/** Names and shapes of a model's weights, from its description alone: for files, before a model is made of them. */
import type { ClipConfig } from "./config.ts";

/**
 * The parameters that `Clip` has, by name.
 * @returns sizes of the dimensions; empty for a scalar
 */
export function weightShapes({ jointWidth, vision, text, logitBias, viewHead }: ClipConfig): Map<string, number[]> {
  const shapes = new Map<string, number[]>();
  const linear = (name: string, outputs: number, inputs: number): void => {
    shapes.set(`${name}.weight`, [outputs, inputs]).set(`${name}.bias`, [outputs]);
  };
  const norm = (name: string, width: number): void => void shapes.set(`${name}.weight`, [width]).set(`${name}.bias`, [width]);
  /** A block with the names of OpenAI's CLIP. */
  const block = (name: string, width: number): void => {
    norm(`${name}.ln_1`, width);
    shapes.set(`${name}.attn.in_proj_weight`, [3 * width, width]).set(`${name}.attn.in_proj_bias`, [3 * width]);
    linear(`${name}.attn.out_proj`, width, width);
    norm(`${name}.ln_2`, width);
    linear(`${name}.mlp.c_fc`, 4 * width, width);
    linear(`${name}.mlp.c_proj`, width, 4 * width);
  };

  const { width, depth, heads, patchSize, imageSize, qkNorm } = vision;
  const tokens = (imageSize / patchSize) ** 2 + 1;
  const patches = [width, 3, patchSize, patchSize];
  if (vision.form === "open-clip") {
    shapes.set("visual.class_embedding", [width]).set("visual.positional_embedding", [tokens, width]).set("visual.conv1.weight", patches);
    norm("visual.ln_pre", width);
    for (let i = 0; i < depth; i++) block(`visual.transformer.resblocks.${i}`, width);
    norm("visual.ln_post", width);
    shapes.set("visual.proj", [width, jointWidth]);
  } else {
    shapes.set("visual.cls_token", [1, 1, width]).set("visual.pos_embed", [1, tokens, width]);
    shapes.set("visual.patch_embed.proj.weight", patches).set("visual.patch_embed.proj.bias", [width]);
    for (let i = 0; i < depth; i++) {
      const name = `visual.blocks.${i}`;
      norm(`${name}.norm1`, width);
      linear(`${name}.attn.qkv`, 3 * width, width);
      if (qkNorm) for (const of of ["q_norm", "k_norm"]) norm(`${name}.attn.${of}`, width / heads);
      linear(`${name}.attn.proj`, width, width);
      norm(`${name}.norm2`, width);
      linear(`${name}.mlp.fc1`, 4 * width, width);
      linear(`${name}.mlp.fc2`, width, 4 * width);
    }
    norm("visual.norm", width);
    shapes.set("image_projection", [width, jointWidth]);
  }

  for (let i = 0; i < text.depth; i++) block(`transformer.resblocks.${i}`, text.width);
  shapes.set("token_embedding.weight", [text.vocabularySize, text.width]).set("positional_embedding", [text.contextLength, text.width]);
  norm("ln_final", text.width);
  shapes.set("text_projection", [text.width, jointWidth]).set("logit_scale", []);
  if (logitBias !== undefined) shapes.set("logit_bias", []);
  if (viewHead) {
    const { hidden, width: last } = viewHead;
    linear("image_mlp.layer1", hidden, width);
    norm("image_mlp.bn1", hidden);
    linear("image_mlp.layer2", hidden, hidden);
    norm("image_mlp.bn2", hidden);
    linear("image_mlp.layer3", last, hidden);
  }
  return shapes;
}
