// Every set-up of the lab. By hand:
//   node faults/lab.mjs                 lists them
//   node faults/lab.mjs no-stickiness   runs one until Ctrl-C
import { fileURLToPath } from "node:url";
import { healthy } from "./healthy.mjs";
import { proxies } from "./proxies.mjs";
import { realProxies } from "./real-proxies.mjs";
import { servers } from "./servers.mjs";
import { tls } from "./tls.mjs";

export const setups = [...healthy, ...servers, ...proxies, ...tls, ...realProxies];

/** The arguments of the doctor, with what only a running set-up knows. */
export const argumentsFor = (setup, words) => setup.arguments.map((word) => word.replaceAll(/\{(origin|backend)\}/g, (_, name) => words[name]));

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const wanted = process.argv[2];
  const setup = setups.find(({ name }) => name === wanted);
  if (wanted && !setup) {
    console.error(`there is no set-up ${wanted}`);
    process.exitCode = 2;
  } else if (setup) {
    const why = setup.missing();
    if (why) throw new Error(why);
    const { url, words, stop } = await setup.start();
    console.log(["sio doctor", url, ...argumentsFor(setup, words).map((word) => (/[{" ]/.test(word) ? `'${word}'` : word))].join(" "));
    process.once("SIGINT", stop).once("SIGTERM", stop);
  } else {
    for (const { name, expect, twin = "" } of setups) console.log(name.padEnd(30), (expect.join() || "healthy").padEnd(9), twin);
  }
}
