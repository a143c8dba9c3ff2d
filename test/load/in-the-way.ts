/** Why aims are not met, as far as it is known; Markdown of the page that the benchmark writes. */
export const inTheWay = `Shares are of sampled time, from V8's profiler in the pinned workerd (\`workerd serve --inspector-addr=…\`) and in the cell (\`node --inspect\`), over 4 s of the closed loop. They were taken while other programs used both cores (load average 8 to 17); shares hold better than milliseconds. Calls to the runtime stand in the share of whoever makes them.

**Stateless lane, edge.** No single cause is left that makes up the difference; a native pass-through does none of these.

| what | share of the edge's time |
| --- | --- |
| the request's log line: the runtime's \`console.log\` with the profiler attached, which makes it dearer; forming the line is 2 % | 19 % |
| the call to the cell: \`fetch\` 13 %, then JSON, SHA-256 of the body, HMAC, nonce, headers | 20 % |
| the receipt: a hash chain 9 %, Ed25519 3 % | 12 % |
| reading the request: JSON scan, parse, rules (18 % before only the fields that are there were looked at) | 7 % |
| authentication: SHA-256 of the key, two comparisons | 6 % |
| abort signals of deadline and client | 2 % |
| the outcome's header (11 % before it was ASCII JSON that is read by hand) | 3 % |
| HTTP in the runtime, collection of garbage | 25 % |

**Durable lane, warm.** Three calls to the object (the history, the begin, the end), where the base makes one, and a delivery to the database a second later that is counted here too.

| what | share of the edge's time |
| --- | --- |
| the object's steps: begin 12 %, history 7 %, end 6 % | 25 % |
| of these, rows of the history read from SQLite, twice a turn (before it was read as columns) | 11 % |
| the call to the cell, which carries the whole history as JSON | 14 % |
| log lines of Worker and object | 7 % |
| the receipt | 5 % |
| the delivery of items and usage | 2 % |

Reading the history and beginning the turn could be one call: the object would find out which of the client's messages are new. The time to the first token is the begin's commit and then the cell's; a dispatch that is begun before the commit, with its first frame held back until the commit is durable, would overlap them. Neither is built.

**Durable lane, cold.** As warm, and for each conversation a new SQLite file with seven tables (the statement that makes them is 4 % of the edge's time; opening the file is the runtime's and in no sample), an alarm and a delivery (6 %). On a disk each new file costs some synchronous writes of its directory besides: 6 ms each on this machine, which is why the benchmark keeps them in memory.

**Open streams.** A relayed stream is read and written in JavaScript, one read, one scan and one write a chunk, where the base passes it through natively; a durable one keeps what is not acknowledged, and a second's checkpoint is a call to the object, its commit and an acknowledgement to the cell.

**Time to the first token.** The base has one hop. Both lanes have two, Worker and cell; the cell's floor alone is the row "Hono on Node".

**Cell.** The engine is always asked for a stream, so the cell reads 65 events for one body where its floor pipes one document. Pieces that came together go on as one, and an event that is like the one before it is not parsed again (together 24 % before). Shares after 25 s of load, when V8 has compiled.

| what | share of the cell's time |
| --- | --- |
| the engine's answer: reading its 65 events 7 %, the turn's steps and what the client gets 8 % | 15 % |
| the engine's request and its sockets, HTTP client included, without the write | 14 % |
| writes to sockets: the engine's request and the edge's answer | 11 % |
| collection of garbage: what a turn leaves behind is kept 10 s for who asks what it came to | 9 % |
| the end of a turn: outcome, metrics, usage, the log's line 2 % | 6 % |
| admission and the choice of a shard | 5 % |
| reading the edge's call: JSON and its schema | 4 % |
| HTTP server and routes | 4 % |
| the signed call: SHA-256, HMAC (two one-shot hashes; 5 % before) | 3 % |
`;
