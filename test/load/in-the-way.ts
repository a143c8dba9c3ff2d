/** Why aims are not met, by profile and by elimination; Markdown of the page that the benchmark writes. */
export const inTheWay = `Not yet profiled.
`;
