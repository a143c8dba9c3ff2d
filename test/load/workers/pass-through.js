export default {
  fetch(request, env) {
    const { pathname } = new URL(request.url);
    return fetch(new Request(env.ENGINE + pathname, request), { redirect: "manual" });
  },
};
