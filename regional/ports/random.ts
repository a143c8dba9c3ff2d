/** Chance as the cell uses it. */
export interface RandomSource {
  /** Uniform on [0, 1); for jitter and choices, never for secrets. */
  unit(): number;
  /** `bytes` random bytes as lower-case hex. */
  hex(bytes: number): string;
}
