// Two servers of Node and two of ours, one cluster on a real Redis: each operation from each server.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { allCount, ending, node, operations, ours, serveJoins, skip, startMember, startRedis, stopMember, withGuests } from "../cluster.mjs";

const members = [
  { name: "node", words: node, client: "redis" },
  { name: "ours", words: [ours] },
  { name: "node too", words: node, client: "ioredis", specific: true },
  { name: "ours too", words: [ours] },
];

// S078.
describe("a cluster of Node and ours", { skip }, () => {
  let redis;

  before(async () => {
    redis = await startRedis();
    for (const member of members) await startMember(member, { redis: redis.url });
    // The namespaces of all are subscribed to when all count all.
    await allCount(members);
  });

  after(async () => {
    for (const member of members) await stopMember(member);
    redis?.kill("SIGKILL");
  });

  operations(members);

  it("Node learns the rooms of all", () =>
    withGuests(members, async (guests) => {
      const rooms = await members[0].order("allRooms");
      for (const { socket } of guests) assert.ok(rooms.includes(socket.id), `${rooms}`);
    }));

  serveJoins(members, () => redis);
  ending(members);
});
