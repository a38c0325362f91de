/** A dataset's Genesis, which queries read beside what else they need rather than before it. */
import type { Address } from "../core/address.ts";
import { decodeGenesis, type Genesis } from "../objects/genesis.ts";
import type { Session } from "./session.ts";

export class LaterGenesis {
  /** As soon as it is there. */
  known: Genesis | undefined;
  private readonly load: () => Promise<Genesis>;
  private loading: Promise<Genesis> | undefined;

  private constructor(load: () => Promise<Genesis>) {
    this.load = load;
  }

  static of(genesis: Genesis): LaterGenesis {
    const later = new LaterGenesis(async () => genesis);
    later.known = genesis;
    return later;
  }

  /** Begins to read it. What goes wrong is told to those who ask, each of whom tries again. */
  static read(session: Session, address: Address): LaterGenesis {
    const later = new LaterGenesis(async () => decodeGenesis(await session.object(address)));
    later.get().catch(() => {});
    return later;
  }

  /** Errors: `NotFound`, `HashMismatch`, `Corrupt`, `StoreUnavailable`. */
  async get(): Promise<Genesis> {
    if (this.known !== undefined) return this.known;
    this.loading ??= this.load().finally(() => {
      this.loading = undefined;
    });
    this.known = await this.loading;
    return this.known;
  }
}
