/** Points that every profile must reach. */
const usual = [
  "a reader had the whole answer",
  "a conversation was locked",
  "a stateless answer was whole",
  "a conversation was erased",
  "a turn ran in the background",
  "a turn was cancelled",
  "a second reader read live",
  "two identical requests were one",
  "a request was answered by the turn of its key",
] as const;

/** Points that the profile with all faults must reach as well. */
const swarm = [
  "a stateless answer ended with an error",
  "a conversation moved to another region",
  "a client came back with an event id",
  "a client repeated its request",
  "a turn was dispatched again",
  "another shard went on with an answer",
  "an answer could not be continued",
  "a begun answer waited for a shard",
  "an answer went on after it had waited",
  "a begun answer waited in vain",
  "a relay failed over",
  "a relay attached again",
  "another cell went on with a begun answer",
  "an answer was whole after a failover",
  "a turn was joined",
  "a turn was taken over by its object",
  "a turn was restarted from its journal",
  "a reader past a restart was told so",
  "a second shard was asked the same",
  "a hedge was the answer",
  "a cell refused a lower attempt",
  "a cell refused a call from before its start",
  "a zombie sent a delivery",
  "database refused a lower fence",
  "database had a gap",
  "a reservation was repeated",
] as const;

/** Points of objects that lose their turns while both go on. */
const isolated = ["a checkpoint was superseded", "a turn was taken over by its object"] as const;

/** What the runs of a profile must have reached, or they show less than they seem to. */
export function pointsOf(profile: string): readonly string[] {
  if (profile === "isolated") return [...usual, ...isolated];
  return profile === "swarm" ? [...usual, ...swarm] : usual;
}
