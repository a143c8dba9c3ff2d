/** Plain JSON, as it crosses every border. */
export type JsonValue = string | number | boolean | null | JsonObject | readonly JsonValue[];
/** A JSON object. Never merged with `Object.assign`: a `__proto__` key would change its prototype. */
export type JsonObject = { readonly [key: string]: JsonValue | undefined };
