/** node-llama-cpp as far as it is used here. It is no dependency of the project: it is loaded when an engine starts. */

/** Tokens as the library gives them: ids. */
export type Token = number;

export interface LlamaSequence {
  readonly contextTokens: readonly Token[];
  readonly nextTokenIndex: number;
  /** Keeps the longest beginning of its state that `tokens` begins with. */
  adaptStateToTokens(tokens: readonly Token[], allowShift: boolean): Promise<void>;
  clearHistory(): Promise<void>;
  evaluateWithoutGeneratingNewTokens(tokens: readonly Token[]): Promise<void>;
  evaluate(tokens: readonly Token[], options: EvaluateOptions): AsyncGenerator<Token, void, void>;
}

export interface EvaluateOptions {
  /** 0 is greedy. */
  readonly temperature: number;
  readonly topP: number;
  readonly topK: number;
  readonly minP: number;
  readonly seed?: number;
  readonly yieldEogToken: true;
  readonly repeatPenalty?: {
    readonly punishTokens: () => readonly Token[];
    readonly maxPunishTokens: number;
    readonly penalty: number;
    readonly frequencyPenalty: number;
    readonly presencePenalty: number;
  };
}

export interface LlamaModel {
  readonly trainContextSize: number;
  readonly tokenizer: unknown;
  readonly tokens: {
    readonly bos: Token | null;
    readonly eos: Token | null;
    readonly eot: Token | null;
    readonly shouldPrependBosToken: boolean;
  };
  tokenize(text: string, specialTokens: boolean): Token[];
  detokenize(tokens: readonly Token[], specialTokens: boolean, last: readonly Token[]): string;
  isEogToken(token: Token): boolean;
  createContext(options: {
    readonly contextSize: number;
    readonly sequences: number;
    readonly threads: number;
  }): Promise<{ readonly contextSize: number; getSequence(): LlamaSequence }>;
}

/** One message of a chat; of the model's, the last one is left open. */
export type ChatItem =
  | { readonly type: "system" | "user"; readonly text: string }
  | { readonly type: "model"; readonly response: readonly string[] };

export interface ChatWrapper {
  generateContextState(state: { readonly chatHistory: readonly ChatItem[] }): {
    readonly contextText: { tokenize(tokenizer: unknown): Token[] };
  };
}

export interface LlamaLibrary {
  getLlama(options: {
    readonly gpu: false;
    readonly build: "never";
    readonly maxThreads: number;
    readonly logLevel: "error";
  }): Promise<{ loadModel(options: { readonly modelPath: string }): Promise<LlamaModel> }>;
  resolveChatWrapper(model: LlamaModel, options: object): ChatWrapper;
}

/** What to run where the library is missing; Linux on x64, elsewhere see the README. */
export const installCommand = "npm ci --prefix dev/gguf-engine --omit=optional --ignore-scripts";

/** The package's name as data, so that no tool takes it for a dependency of the project. */
const packageName: string = "node-llama-cpp";

/** Loads the library. @throws Error that says what to run when it is not installed or cannot be loaded. */
export async function loadLibrary(): Promise<LlamaLibrary> {
  let loaded: unknown;
  try {
    loaded = await import(packageName);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(`node-llama-cpp cannot be loaded. Run: ${installCommand}\n${reason}`, {
      cause: error,
    });
  }
  if (!isLibrary(loaded)) throw new Error("node-llama-cpp is not the version that is wanted.");
  return loaded;
}

function isLibrary(value: unknown): value is LlamaLibrary {
  if (typeof value !== "object" || value === null) return false;
  return (
    "getLlama" in value &&
    typeof value.getLlama === "function" &&
    "resolveChatWrapper" in value &&
    typeof value.resolveChatWrapper === "function"
  );
}
