// A reporter for what the tests print, which `dot` swallows.
export default async function* printed(source) {
  for await (const { type, data } of source) if (type === "test:stdout") yield data.message;
}
