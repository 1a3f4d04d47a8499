// A running service for the tests: the server and the gateway, on a database of their own.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

const START_TIMEOUT_MS = 60_000;
// Longer than `serve` gives the gateway and the server to end.
const STOP_TIMEOUT_MS = 40_000;

export interface Service {
  grpcAddress: string;
  restAddress: string;
  stop(): Promise<void>;
}

/** Runs `program serve` and returns once it answers; the caller stops it. */
export async function startService(program: string): Promise<Service> {
  const directory = await mkdtemp(join(tmpdir(), "peermentor-example-"));
  const [grpcAddress, restAddress, adminAddress] = await freeAddresses();
  const server = spawn(program, ["serve"], {
    env: {
      ...process.env,
      PEERMENTOR_DATABASE_URL: `sqlite:///${join(directory, "peermentor.db")}`,
      PEERMENTOR_GRPC_ADDRESS: grpcAddress,
      PEERMENTOR_REST_ADDRESS: restAddress,
      PEERMENTOR_ADMIN_ADDRESS: adminAddress,
      PEERMENTOR_LOG_LEVEL: "warning",
    },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const ended = once(server, "exit");
  // However the tests end, nothing goes on: the children of `serve` end with it.
  const kill = () => server.kill("SIGKILL");
  process.on("exit", kill);

  async function stop(): Promise<void> {
    server.kill();
    try {
      await within(STOP_TIMEOUT_MS, ended, "the end of the service");
      process.off("exit", kill);
    } finally {
      await rm(directory, { recursive: true });
    }
  }

  try {
    // It prints where it listens as soon as calls are answered, on both addresses.
    const ready = once(server.stdout, "data");
    const failed = ended.then(([status]) => {
      throw new Error(`the service ended with status ${status}`);
    });
    await within(START_TIMEOUT_MS, Promise.race([ready, failed]), "the service");
  } catch (error) {
    await stop();
    throw error;
  }
  return { grpcAddress, restAddress, stop };
}

/** Returns addresses whose ports were all free a moment ago. */
async function freeAddresses(): Promise<[string, string, string]> {
  const probes = [createServer(), createServer(), createServer()] as const;
  for (const probe of probes) {
    await once(probe.listen(0, "127.0.0.1"), "listening");
  }
  const [grpc, rest, admin] = probes.map((probe) => (probe.address() as AddressInfo).port);
  probes.forEach((probe) => probe.close());
  return [`127.0.0.1:${grpc}`, `127.0.0.1:${rest}`, `127.0.0.1:${admin}`];
}

async function within<T>(milliseconds: number, wanted: Promise<T>, name: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    const error = new Error(`waited ${milliseconds} ms for ${name}`);
    timer = setTimeout(() => reject(error), milliseconds);
  });
  return Promise.race([wanted, late]).finally(() => clearTimeout(timer));
}
