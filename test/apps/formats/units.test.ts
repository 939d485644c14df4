import test from 'brittle'
import { readCpus, readDuration, readMemory } from '../../../apps/formats/units.ts'

const MIB = 1024 * 1024

test('units - memory in every spelling', (t) => {
  const cases: [unknown, number][] = [
    ['64M', 64 * MIB],
    ['64MB', 64 * MIB],
    ['64m', 64 * MIB],
    ['64MiB', 64 * MIB],
    ['1GiB', 1024 * MIB],
    ['1.5g', 1536 * MIB],
    ['2048k', 2 * MIB],
    ['1T', 1024 * 1024 * MIB],
    [2 * MIB, 2 * MIB],
    ['1048576', MIB],
    ['1048576b', MIB]
  ]
  for (const [given, bytes] of cases) t.is(readMemory(given), bytes, String(given))
  for (const bad of ['', '64X', '-1M', 'M', '64 parsecs', '1e9', true, null, NaN, Infinity]) {
    t.exception(() => readMemory(bad), /expected memory like 64M/, String(bad))
  }
  t.exception(() => readMemory('512k'), /at least 1M/)
  t.exception(() => readMemory('99999999T'), /no machine has/)
})

test('units - durations in every spelling, within their range', (t) => {
  const read = (value: unknown): number => readDuration(value, 0, 86_400_000)
  const cases: [unknown, number][] = [
    ['2s', 2000],
    ['500ms', 500],
    ['1m30s', 90_000],
    ['1.5s', 1500],
    ['1h', 3_600_000],
    ['0', 0],
    [0, 0],
    ['0s', 0]
  ]
  for (const [given, ms] of cases) t.is(read(given), ms, String(given))
  for (const bad of ['', '2', 2, 's', '2 s', '-2s', '2d', '1s30', null, true, []]) {
    t.exception(() => read(bad), /expected a duration like 2s/, String(bad))
  }
  t.exception(() => readDuration('50ms', 100, 3_600_000), /from 100ms to 1h, got "50ms"/)
  t.exception(() => readDuration('25h', 100, 86_400_000), /from 100ms to 24h, got "25h"/)
})

test('units - cores', (t) => {
  t.is(readCpus(0.5), 0.5)
  t.is(readCpus('0.5'), 0.5)
  for (const bad of [0, -1, 'two', '', null, 2000, NaN]) {
    t.exception(() => readCpus(bad), /number of cores/, String(bad))
  }
})
