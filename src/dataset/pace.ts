/**
 * How hurriedly a writer goes for a ref that others move, too. Backing off from nothing at every commit would let the
 * writer who has just won, and so waits for nobody, win again and again while the others wait ever longer; so
 * what was learnt is kept from commit to commit (as MACAW does for radio, Bharghavan 1994).
 */
export class Pace {
  /** Doublings of the longest wait; 0 when nobody else is about. */
  private stage = 0;

  get isCrowded(): boolean {
    return this.stage > 0;
  }

  lost(): void {
    this.stage = Math.min(this.stage + 1, MAX_STAGE);
  }

  /** As slowly as it rose: then everybody waits about as long as the others, and of two attempts one succeeds. */
  won(): void {
    this.stage = Math.max(0, this.stage - 1);
  }

  /** Waits a random while, so that writers fall out of step. */
  async wait({ random, sleep }: Waiting): Promise<void> {
    const [high, low] = random(2) as unknown as [number, number];
    await sleep(((256 * high + low) / 65_536) * UNIT_MS * 2 ** this.stage);
  }
}

export interface Waiting {
  random: (count: number) => Uint8Array;
  sleep: (ms: number) => Promise<void>;
}

const UNIT_MS = 2;
/** Two seconds at most, about what sixteen writers at an object store need to get through. */
const MAX_STAGE = 10;
