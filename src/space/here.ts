import { checkSignal } from "../store/aborted.ts";
import type { SpaceLink, SpaceNews } from "./verbs.ts";

/** A Space whose dataset is on this thread; what that takes is loaded now. */
export async function linkHere(onNews: (news: SpaceNews) => void): Promise<SpaceLink> {
  const { SpaceHost } = await import("./host.ts");
  const host = new SpaceHost(onNews);
  return {
    async call(verb, args, { signal } = {}) {
      checkSignal(signal);
      return host.run(verb, args, signal);
    },
    end: () => host.finish(),
  };
}
