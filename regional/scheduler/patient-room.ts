import type { SlotReply, SlotRequest } from "./scheduler.ts";

/** Begun answers of one model that wait for a shard at once; those beyond are told that there is none. */
const patientsMax = 1_000;

/** A begun answer that waits for a shard to come back. */
export interface Patient {
  readonly request: SlotRequest;
  readonly sinceMs: number;
  readonly reply: (reply: SlotReply) => void;
}

/** What asking for a patient came to: it was answered; nobody else of the room needs to ask now; or only it has no place. */
export type Attended = "answered" | "nothingThere" | "notForIt";

/**
 * Where begun answers of one model wait while no shard of it may be used: apart from the queue, so that a turn that has not begun
 * is refused at once as ever. In the order in which they came.
 */
export class PatientRoom {
  readonly #patients = new Set<Patient>();

  get count(): number {
    return this.#patients.size;
  }

  /** Lets `patient` wait; the returned function takes it out again. Null: the room is full. */
  add(patient: Patient): (() => void) | null {
    if (this.#patients.size >= patientsMax) return null;
    this.#patients.add(patient);
    return () => void this.#patients.delete(patient);
  }

  /** Asks for each in turn until there is nothing to be had. `attend` must answer whom it says it has answered, after `take`. */
  serve(attend: (patient: Patient, take: () => void) => Attended): void {
    // Who is answered may come back at once: not before the next time.
    for (const patient of [...this.#patients]) {
      if (!this.#patients.has(patient)) continue;
      if (attend(patient, () => void this.#patients.delete(patient)) === "nothingThere") return;
    }
  }
}
