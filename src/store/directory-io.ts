/** The part of `node:fs/promises` that the directory store uses; tests pass their own to record and to fail. */
export interface DirectoryIo {
  open(path: string, flags: "r" | "wx"): Promise<IoFile>;
  mkdir(path: string): Promise<void>;
  readdir(path: string): Promise<IoEntry[]>;
  stat(path: string): Promise<IoStat>;
  rename(source: string, target: string): Promise<void>;
  /** Fails with EEXIST when `target` exists: the one atomic step of a compare-and-swap. */
  link(source: string, target: string): Promise<void>;
  unlink(path: string): Promise<void>;
  rmdir(path: string): Promise<void>;
}

export interface IoFile {
  read(buffer: Uint8Array, offset: number, length: number, position: number): Promise<{ bytesRead: number }>;
  writeFile(bytes: Uint8Array): Promise<void>;
  sync(): Promise<void>;
  stat(): Promise<IoStat>;
  close(): Promise<void>;
}

export interface IoEntry {
  name: string;
  isDirectory(): boolean;
}

export interface IoStat {
  /** Bytes. */
  size: number;
  /** Hard links. */
  nlink: number;
  isDirectory(): boolean;
}
