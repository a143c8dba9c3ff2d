import { lookup as systemLookup } from "node:dns";
import { BlockList, isIPv6 } from "node:net";
import type { LookupFunction } from "node:net";

/**
 * Addresses that no public name should have: this host, private and shared networks, link-local ones with the cloud's
 * metadata service, benchmarks, multicast, reserved (IANA IPv4 Special-Purpose Address Registry, RFC 6890).
 */
const privateIpv4 = [
  ["0.0.0.0", 8],
  ["10.0.0.0", 8],
  ["100.64.0.0", 10],
  ["127.0.0.0", 8],
  ["169.254.0.0", 16],
  ["172.16.0.0", 12],
  ["192.0.0.0", 24],
  ["192.168.0.0", 16],
  ["198.18.0.0", 15],
  ["224.0.0.0", 4],
  ["240.0.0.0", 4],
] as const;
/** The same for IPv6: unspecified, loopback, 6to4 and Teredo tunnels, unique local, link-local, site-local, multicast. */
const privateIpv6 = [
  ["::", 127],
  ["2001::", 32],
  ["2002::", 16],
  ["fc00::", 7],
  ["fe80::", 10],
  ["fec0::", 10],
  ["ff00::", 8],
] as const;
/** IPv4 addresses as a NAT64 writes them (RFC 6052); BlockList itself knows those of ::ffff:0:0/96. */
const nat64Prefix = "64:ff9b::";
const nat64PrefixBits = 96;

const privateAddresses = new BlockList();
for (const [address, bits] of privateIpv4) {
  privateAddresses.addSubnet(address, bits, "ipv4");
  privateAddresses.addSubnet(`${nat64Prefix}${address}`, nat64PrefixBits + bits, "ipv6");
}
for (const [address, bits] of privateIpv6) privateAddresses.addSubnet(address, bits, "ipv6");

/** Whether an IP address, in any notation of Node's resolver, is one that no public name should have. */
export function isPrivateAddress(address: string): boolean {
  return privateAddresses.check(address, isIPv6(address) ? "ipv6" : "ipv4");
}

/** How a shard's hostname is resolved. */
export interface ShardLookupOptions {
  /** The topology lets this shard's name have private addresses. */
  readonly allowsPrivate: boolean;
  /** Told of each refusal. */
  readonly onRefused: () => void;
  /** Defaults to the system's resolver. */
  readonly lookup?: LookupFunction;
}

/**
 * A `lookup` for sockets to one shard. A name that resolves to a private address, be it one among others, is refused:
 * whoever holds the name's DNS could point the cell at its own network otherwise (rebinding). The address that was
 * checked is the one that is connected to. Sockets do not ask for IP literals, and `localhost` says itself where it is:
 * both stand in the topology.
 */
export function createShardLookup(options: ShardLookupOptions): LookupFunction {
  const { allowsPrivate, onRefused, lookup = systemLookup } = options;
  return (hostname, lookupOptions, callback) => {
    const isTrusted = allowsPrivate || hostname === "localhost" || hostname.endsWith(".localhost");
    lookup(hostname, lookupOptions, (error, address, family) => {
      if (error !== null || isTrusted) return callback(error, address, family);
      const found = typeof address === "string" ? [address] : address.map((one) => one.address);
      if (!found.some(isPrivateAddress)) return callback(null, address, family);
      onRefused();
      callback(new Error("a shard's name has a private address"), []);
    });
  };
}
