/** Why aims are not met, as far as it is known; Markdown of the page that the benchmark writes. */
export const inTheWay = `No profile was taken yet: what follows is what the set-up itself shows, not the share of each cause.

- **Durable lane, every aim.** Each request makes a new conversation: a cold object that creates its tables, leases, and completes the turn with its items, beside a base whose objects are warm and write one row. A warm conversation was not measured.
- **Durable lane, open streams.** Each open stream writes a checkpoint a second (a call to the object, its commit, an acknowledgement to the cell); the column for CPU per open stream and second has its cost, the token included.
- **Stateless lane, edge.** Authentication, parsing, signing of the call and of the receipt, and one read and write of each chunk in JavaScript are work that a native pass-through does not do; which of them weighs most is not known.
- **Cell.** The engine is always asked for a stream, so the cell reads 64 events for one body where its floor pipes one document.
`;
