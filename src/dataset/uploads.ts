/** Objects on their way to the backend while the next are being made. */
import type { Sealed } from "../objects/column.ts";
import type { Context } from "./context.ts";
import { putObject } from "./put-objects.ts";

/** Puts under way at once. */
const CONCURRENCY = 8;
/** Bytes under way and waiting beyond which the maker has to wait: memory stays bounded on a slow network. */
const AHEAD_BYTES = 32 << 20;

const NOTHING = new Uint8Array(0);

export class Uploads {
  private readonly ctx: Context;
  private readonly onBytes: (put: number, total: number) => void;
  private readonly waiting: Sealed[] = [];
  private wakeUps: (() => void)[] = [];
  private active = 0;
  private aheadBytes = 0;
  private putBytes = 0;
  private totalBytes = 0;
  private failure: { error: unknown } | undefined;

  constructor(ctx: Context, onBytes: (put: number, total: number) => void = () => {}) {
    this.ctx = ctx;
    this.onBytes = onBytes;
  }

  /** Takes objects, whose bytes it lets go of once they are stored. Resolves when there is room for more. */
  async add(objects: readonly Sealed[]): Promise<void> {
    for (const object of objects) {
      this.aheadBytes += object.bytes.length;
      this.totalBytes += object.bytes.length;
      this.waiting.push(object);
      this.start();
    }
    await this.until(() => this.aheadBytes <= AHEAD_BYTES);
  }

  /** Resolves when all are stored, durably. Errors: as `putObjects`. */
  async finish(): Promise<void> {
    await this.until(() => this.active === 0);
  }

  /** What waits is given up; resolves when nothing is under way any more. */
  async stop(): Promise<void> {
    this.waiting.length = 0;
    while (this.active > 0) await this.change();
  }

  private start(): void {
    while (this.active < CONCURRENCY && this.waiting.length > 0 && this.failure === undefined) {
      this.active++;
      void this.put(this.waiting.shift() as Sealed);
    }
  }

  private async put(object: Sealed): Promise<void> {
    const { length } = object.bytes;
    try {
      await putObject(this.ctx, { address: object.ref.address, bytes: object.bytes });
      object.bytes = NOTHING;
      this.putBytes += length;
      this.onBytes(this.putBytes, this.totalBytes);
    } catch (error) {
      this.failure ??= { error };
    }
    this.active--;
    this.aheadBytes -= length;
    this.start();
    const { wakeUps } = this;
    this.wakeUps = [];
    for (const wakeUp of wakeUps) wakeUp();
  }

  private async until(isReady: () => boolean): Promise<void> {
    while (this.failure === undefined && !isReady()) await this.change();
    if (this.failure !== undefined) throw this.failure.error;
  }

  private change(): Promise<void> {
    return new Promise((resolve) => this.wakeUps.push(resolve));
  }
}
