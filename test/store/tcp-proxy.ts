/**
 * A line that goes wrong: a TCP proxy before a server, which cuts connections after so many bytes of either direction, falls
 * silent, or is slow. Nothing is told to either side but what TCP tells.
 */

import type { AddressInfo } from "node:net";
import { connect, createServer, type Server, type Socket } from "node:net";

/** What happens to one connection; nothing when all is left out. */
export interface Fault {
  /** Reset when so many bytes have gone to the server. */
  cutAfterSent?: number;
  /** Reset when so many bytes have come from the server. The request has been carried out by then, most likely. */
  cutAfterReceived?: number;
  /** From so many bytes of the server's on nothing comes any more, and the connection stays open. */
  silentAfterReceived?: number;
  /** Every piece of the server's is passed on so many milliseconds late. */
  delayMs?: number;
}

export class TcpProxy {
  /** Decides about a connection when it is made; they are counted from 0. */
  fault: (connection: number) => Fault = () => ({});
  connections = 0;
  /** Connections that a fault has ended or silenced. */
  faults = 0;
  readonly #target: URL;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  constructor(target: string) {
    this.#target = new URL(target);
    this.#server = createServer((client) => this.#pass(client));
  }

  /** The target's address with this proxy in place of its host. */
  get url(): string {
    const url = new URL(this.#target);
    url.host = `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
    return url.href.replace(/\/$/, "");
  }

  start(): Promise<void> {
    return new Promise((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
  }

  async stop(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  #pass(client: Socket): void {
    const fault = this.fault(this.connections++);
    const server = connect(Number(this.#target.port), this.#target.hostname);
    for (const socket of [client, server]) {
      this.#sockets.add(socket);
      socket.setNoDelay(true);
      socket.on("error", () => {});
      socket.on("close", () => {
        this.#sockets.delete(socket);
        client.destroy();
        server.destroy();
      });
    }
    const cut = (): void => {
      this.faults++;
      client.resetAndDestroy();
      server.resetAndDestroy();
    };

    let sent = 0;
    client.on("data", (piece) => {
      const left = (fault.cutAfterSent ?? Number.POSITIVE_INFINITY) - sent;
      sent += piece.length;
      if (piece.length < left) server.write(piece);
      // What the cut lets through goes out whole before the end does.
      else server.write(piece.subarray(0, left), cut);
    });
    client.on("end", () => server.end());

    let received = 0;
    let isSilent = false;
    const toClient = (piece: Buffer): void => {
      if (isSilent) return;
      const cutLeft = (fault.cutAfterReceived ?? Number.POSITIVE_INFINITY) - received;
      const silentLeft = (fault.silentAfterReceived ?? Number.POSITIVE_INFINITY) - received;
      received += piece.length;
      if (piece.length < Math.min(cutLeft, silentLeft)) client.write(piece);
      else if (cutLeft <= silentLeft) client.write(piece.subarray(0, cutLeft), cut);
      else {
        isSilent = true;
        this.faults++;
        client.write(piece.subarray(0, silentLeft));
      }
    };
    server.on("data", (piece) => {
      if (fault.delayMs === undefined) toClient(piece);
      else setTimeout(toClient, fault.delayMs, piece);
    });
    server.on("end", () => setTimeout(() => client.end(), fault.delayMs ?? 0));
  }
}
