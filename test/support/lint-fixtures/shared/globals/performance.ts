// refused by: no-restricted-globals
export const found: unknown = performance;
