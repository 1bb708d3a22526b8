// A program in a guest that never stops writing to a disk, and remembers what was acknowledged; so that what a crash, a
// merge or a full disk loses or mixes up is found.
import type { Storage } from './storage.ts';

const slots = 32;

/** Each number into its slot, a sector, in turn; counted when the disk has acknowledged it. Ends when a write fails. */
const program = (disk: string) => `
cat >/tmp/writer.sh <<'END'
i=0
while :; do
  i=$((i + 1))
  printf '%511d\\n' $i >/tmp/sector
  dd if=/tmp/sector of=$1 bs=512 seek=$((i % ${slots})) conv=fsync 2>/dev/null || exit 1
  echo $i >/tmp/count.new
  mv /tmp/count.new /tmp/count
  usleep 30000
done
END
echo 0 >/tmp/count
device=$(disk ${disk})
setsid sh /tmp/writer.sh $device </dev/null >/dev/null 2>&1 &
echo $! >/tmp/writer
`;

const check = (disk: string) => `
kill -STOP $(cat /tmp/writer)
sync
echo 3 >/proc/sys/vm/drop_caches
count=$(cat /tmp/count)
dd if=$(disk ${disk}) bs=512 count=${slots} 2>/dev/null | awk -v count=$count '
  { slot = NR - 1
    want = count - ((count - slot) % ${slots} + ${slots}) % ${slots}
    if ($0 + 0 != want && !($0 + 0 == count + 1 && (count + 1) % ${slots} == slot))
      print "slot " slot " has " ($0 + 0) " and not " want }
  END { if (NR != ${slots}) print "only " NR " sectors" }'
echo "count $count"
kill -CONT $(cat /tmp/writer)
`;

export interface Writer {
  /** Resolves when the guest has written `more` sectors since it was asked. */
  hasWritten(more: number): Promise<void>;
  /** All that was acknowledged is there, and the guest has written since the last look. What is wrong, else nothing. */
  faults(): Promise<string[]>;
}

/** Starts writing; resolves when each slot has been written. */
export async function startWriter(storage: Storage, instance: string, disk: string): Promise<Writer> {
  await storage.sh(instance, program(disk));
  let seen = 0;
  const writer: Writer = {
    hasWritten: async (more) =>
      void (await storage.sh(
        instance,
        `end=$(($(cat /tmp/count) + ${more})); tries=0
         while [ $(cat /tmp/count) -lt $end ]; do
           [ $tries -lt 2000 ] || { echo "stands at $(cat /tmp/count)" >&2; exit 1; }
           tries=$((tries + 1)); usleep 10000
         done`,
      )),
    async faults() {
      const lines = (await storage.sh(instance, check(disk))).split('\n');
      const count = Number(/^count (\d+)$/.exec(lines.pop() ?? '')?.[1]);
      const stands = count > seen ? [] : [`the guest has written nothing since ${seen}`];
      seen = count;
      return [...lines, ...stands];
    },
  };
  await writer.hasWritten(slots);
  return writer;
}
