import test from 'brittle'
import {
  afterCheck,
  checkCommand,
  nextCheckMs,
  unknownHealth
} from '../../../roles/agent/health.ts'
import { HEALTHCHECK } from './views.ts'

const AFTER_START = HEALTHCHECK.startPeriodMs

test('health - bad after so many failures in a row, good after one success', (t) => {
  let health = unknownHealth(0)
  health = afterCheck(health, HEALTHCHECK, 'failed', AFTER_START)
  health = afterCheck(health, HEALTHCHECK, 'failed', AFTER_START)
  t.is(health.healthy, null)
  health = afterCheck(health, HEALTHCHECK, 'failed', AFTER_START)
  t.is(health.healthy, false)
  health = afterCheck(health, HEALTHCHECK, 'passed', AFTER_START)
  t.is(health.healthy, true)
  for (const expected of [true, true, false]) {
    health = afterCheck(health, HEALTHCHECK, 'failed', AFTER_START)
    t.is(health.healthy, expected)
  }
})

test('health - failures in the start period do not count, until the first success', (t) => {
  let health = unknownHealth(0)
  for (let i = 0; i < 9; i++) health = afterCheck(health, HEALTHCHECK, 'failed', AFTER_START - 1)
  t.is(health.failures, 0)
  health = afterCheck(health, HEALTHCHECK, 'passed', 1)
  health = afterCheck(health, HEALTHCHECK, 'failed', 2)
  t.is(health.failures, 1)
})

test('health - looks more often while it starts', (t) => {
  const health = unknownHealth(0)
  t.is(nextCheckMs(health, HEALTHCHECK, 1), 150)
  t.is(nextCheckMs(health, HEALTHCHECK, 3_000), 375, 'an eighth of the time it has waited')
  t.is(nextCheckMs(health, { ...HEALTHCHECK, intervalMs: 200 }, 3_000), 200)
  t.is(nextCheckMs(health, HEALTHCHECK, AFTER_START), 2000)
  t.is(nextCheckMs({ ...health, healthy: true }, HEALTHCHECK, 1), 2000)
})

test('health - a shell runs what is written for one', (t) => {
  const shell = { ...HEALTHCHECK, shell: true, command: ['exit 1'] }
  t.alike(checkCommand(shell), ['/bin/sh', '-c', 'exit 1'])
  t.alike(checkCommand(HEALTHCHECK), ['check'])
})
