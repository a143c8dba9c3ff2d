// refused by: no-explicit-any
export const value: any = 1;
