// refused by: no-restricted-imports
import { signer } from "#edge/adapters/call-signer.ts";
export const found = signer;
