/** Keys that tests of the edge present; the digests are among the bindings. Worth nothing anywhere else. */
export const testKeys = {
  acme: "mk_eu_acme_0123456789abcdefghijklmnop",
  initech: "mk_eu_initech_0123456789abcdefghijklmnop",
  globex: "mk_us_globex_0123456789abcdefghijklmnop",
  admin: "mk_admin_0123456789abcdefghijklmnop",
} as const;
