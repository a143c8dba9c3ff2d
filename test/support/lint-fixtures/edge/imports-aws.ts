// refused by: no-restricted-imports
import { Client } from "@aws-sdk/client-sagemaker-runtime";
export const found = Client;
