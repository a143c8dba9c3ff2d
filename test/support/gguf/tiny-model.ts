/** A language model of random weights, as small as llama.cpp takes them: real files, tokens and sampling, no sense. */
import { writeGguf } from "./write-gguf.ts";
import type { GgufTensor, GgufValue } from "./write-gguf.ts";

const layers = 2;
const width = 96;
const feedForward = 192;
const heads = 4;
const contextTokensMax = 2_048;
/** SentencePiece's mark of a space (U+2581). */
const space = "\u2581";
/** Types of tokens (ggml, docs/gguf.md, tokenizer.ggml.token_type). */
const tokenTypes = { normal: 1, unknown: 2, control: 3, byte: 6 } as const;
/** The template of the model; each turn is closed by its end. */
const chatTemplate =
  "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}";

interface Token {
  readonly text: string;
  readonly type: number;
  /** Higher is merged first. */
  readonly score: number;
}

/** Uniform on [-1, 1), the same for the same seed (mulberry32, public domain). */
function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 31 - 1;
  };
}

function vocabulary(): readonly Token[] {
  const control = (text: string): Token => ({ text, type: tokenTypes.control, score: 0 });
  const bytes = Array.from({ length: 256 }, (_, byte) => ({
    text: `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`,
    type: tokenTypes.byte,
    score: 0,
  }));
  const syllables = Array.from("bdfgklmnprst").flatMap((first) =>
    Array.from("aeiou").map((second) => first + second),
  );
  const letters = [
    ...Array.from("abcdefghijklmnopqrstuvwxyz.,:!?'ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789äöüß"),
    space,
  ];
  const words = syllables.map((syllable) => space + syllable);
  const normal = [...words, ...syllables, ...letters].map((text, index) => ({
    text,
    type: tokenTypes.normal,
    score: -index - 1,
  }));
  return [
    { text: "<unk>", type: tokenTypes.unknown, score: 0 },
    control("<s>"),
    control("</s>"),
    control("<|system|>"),
    control("<|user|>"),
    control("<|assistant|>"),
    control("<|end|>"),
    ...bytes,
    ...normal,
  ];
}

/** The bytes of the model; about a megabyte. Its greedy answers are syllables and never end by themselves. */
export function tinyModel(seed = 1): Buffer {
  const random = randomOf(seed);
  const tokens = vocabulary();
  const matrix = (name: string, inputs: number, outputs: number, scale: number): GgufTensor => ({
    name,
    dimensions: [inputs, outputs],
    data: Float32Array.from({ length: inputs * outputs }, () => random() * scale),
  });
  const ones = (name: string): GgufTensor => ({
    name,
    dimensions: [width],
    data: new Float32Array(width).fill(1),
  });
  const scale = 2 / Math.sqrt(width);
  const output = matrix("output.weight", width, tokens.length, scale);
  // Control tokens and single bytes have the logit 0, below the best of the others.
  for (const [index, { type }] of tokens.entries())
    if (type !== tokenTypes.normal) output.data.fill(0, index * width, (index + 1) * width);
  const blocks = Array.from({ length: layers }, (_, layer) => {
    const name = (part: string): string => `blk.${layer}.${part}.weight`;
    return [
      ones(name("attn_norm")),
      matrix(name("attn_q"), width, width, 3 * scale),
      matrix(name("attn_k"), width, width, 3 * scale),
      matrix(name("attn_v"), width, width, 3 * scale),
      matrix(name("attn_output"), width, width, 3 * scale),
      ones(name("ffn_norm")),
      matrix(name("ffn_gate"), width, feedForward, scale),
      matrix(name("ffn_up"), width, feedForward, scale),
      matrix(name("ffn_down"), feedForward, width, scale),
    ];
  });
  const number = (value: number): GgufValue => ({ kind: "uint32", value });
  const string = (value: string): GgufValue => ({ kind: "string", value });
  return writeGguf(
    {
      "general.architecture": string("llama"),
      "general.name": string("tiny random"),
      "llama.block_count": number(layers),
      "llama.context_length": number(contextTokensMax),
      "llama.embedding_length": number(width),
      "llama.feed_forward_length": number(feedForward),
      "llama.attention.head_count": number(heads),
      "llama.attention.head_count_kv": number(heads),
      "llama.attention.layer_norm_rms_epsilon": { kind: "float32", value: 1e-5 },
      "llama.rope.dimension_count": number(width / heads),
      "llama.vocab_size": number(tokens.length),
      "tokenizer.ggml.model": string("llama"),
      "tokenizer.ggml.tokens": { kind: "strings", values: tokens.map(({ text }) => text) },
      "tokenizer.ggml.scores": { kind: "float32s", values: tokens.map(({ score }) => score) },
      "tokenizer.ggml.token_type": { kind: "int32s", values: tokens.map(({ type }) => type) },
      "tokenizer.ggml.bos_token_id": number(1),
      "tokenizer.ggml.eos_token_id": number(2),
      "tokenizer.ggml.unknown_token_id": number(0),
      "tokenizer.ggml.eot_token_id": number(6),
      "tokenizer.ggml.add_bos_token": { kind: "bool", value: true },
      "tokenizer.ggml.add_space_prefix": { kind: "bool", value: false },
      "tokenizer.chat_template": string(chatTemplate),
    },
    [
      matrix("token_embd.weight", width, tokens.length, 1),
      ...blocks.flat(),
      ones("output_norm.weight"),
      output,
    ],
  );
}
