// refused by: no-restricted-imports
import { Conversation } from "#edge/objects/conversation.ts";
export const found = Conversation;
