// refused by: no-restricted-imports
import { signer } from "./adapters/call-signer.ts";
export const found = signer;
