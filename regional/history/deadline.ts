/** Settles with `promise`, or with `late` after `timeoutMs`. The promise goes on; its late failure is swallowed. */
export async function within<T, L>(
  promise: Promise<T>,
  timeoutMs: number,
  late: () => L,
): Promise<T | L> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  promise.catch(() => undefined);
  try {
    return await Promise.race([
      promise,
      new Promise<L>((resolve) => {
        timer = setTimeout(() => resolve(late()), Math.max(0, timeoutMs));
      }),
    ]);
  } finally {
    clearTimeout(timer);
  }
}
