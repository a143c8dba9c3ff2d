export default { fetch: () => new Response("starting", { status: 503 }) };
