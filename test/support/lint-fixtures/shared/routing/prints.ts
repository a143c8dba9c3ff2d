// refused by: no-console
export const print = (): void => console.log("x");
