// What Firefox's own console says of pages and their workers. Firefox keeps its reports of policies, scripts and requests from whoever
// started it; its remote control Marionette, one message of JSON after the other over TCP, reads them where the browser's own code may.
// https://firefox-source-docs.mozilla.org/testing/marionette/Protocol.html
import { readFile } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";

export const PREFERENCES = {
  // A free port, which is written into the profile.
  "marionette.port": 0,
  // What scripts say, those of workers too, goes to its output.
  "devtools.console.stdout.content": true,
};
/** The second lets a session read what is the browser's own. */
export const FLAGS = ["--marionette", "--remote-allow-system-access"];

const PORT_FILE = "MarionetteActivePort";
const WAIT_MS = 20_000;
/** nsIScriptError.warningFlag and infoFlag: what is neither is an error. */
const READ = `
  const taken = Services.console.getMessageArray().filter((each) => each instanceof Ci.nsIScriptError);
  Services.console.reset();
  return taken
    .filter(({ flags, isFromChromeContext }) => (flags & 9) === 0 && !isFromChromeContext)
    .map(({ category, errorMessage, sourceName }) => category + ": " + errorMessage + " (" + sourceName + ")");`;

/** Of the Firefox whose profile is in `folder`: `take()` gives the errors since the last call. @throws when it does not let itself be asked */
export async function openFirefoxConsole(folder) {
  const socket = connect(await portOf(folder), "127.0.0.1");
  const messages = messagesOf(socket);
  let lastId = 0;
  const ask = async (command, args = {}) => {
    const text = JSON.stringify([0, ++lastId, command, args]);
    socket.write(`${Buffer.byteLength(text)}:${text}`);
    const { value } = await messages.next();
    if (value === undefined) throw new Error(`Firefox hung up at ${command}`);
    const [, , error, result] = value;
    if (error !== null) throw new Error(`${command}: ${error.error}: ${error.message}`);
    return result;
  };
  await messages.next(); // its greeting
  await ask("WebDriver:NewSession");
  await ask("Marionette:SetContext", { value: "chrome" });
  return {
    take: async () => (await ask("WebDriver:ExecuteScript", { script: READ, args: [] })).value,
    close: () => socket.destroy(),
  };
}

async function portOf(folder) {
  for (const began = Date.now(); ; ) {
    const text = await readFile(join(folder, PORT_FILE), "utf8").catch(() => "");
    if (/^\d+$/.test(text.trim())) return Number(text);
    if (Date.now() - began > WAIT_MS) throw new Error(`Firefox named no port in ${WAIT_MS / 1000} s`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Messages as they come: their length in bytes, a colon, JSON. */
async function* messagesOf(socket) {
  let held = Buffer.alloc(0);
  for await (const chunk of socket) {
    held = Buffer.concat([held, chunk]);
    for (let at = held.indexOf(":"); at > 0; at = held.indexOf(":")) {
      const end = at + 1 + Number(held.subarray(0, at).toString());
      if (held.length < end) break;
      yield JSON.parse(held.subarray(at + 1, end).toString());
      held = held.subarray(end);
    }
  }
}
