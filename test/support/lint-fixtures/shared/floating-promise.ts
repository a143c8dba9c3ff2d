// refused by: no-floating-promises
async function work(): Promise<void> {}
export function start(): void {
  work();
}
