'use strict';

const native = require('./native');
const { settled } = require('./error');
const { Leash } = require('./leash');

/**
 * Does what may take long: `begin` gets what native code looks at to know that it is to end, and
 * returns its promise. It is among `running` meanwhile.
 */
async function operate({ signal, running }, begin) {
  const leash = new Leash(signal, running, new native.Cancel());
  try {
    return await settled(() => begin(leash.native));
  } finally {
    leash.release();
    leash.throwIfAborted();
  }
}

/**
 * As `operate`; `begin` also gets where native code puts its reports for `report`, and what it calls
 * when there are some. What `report` throws ends the operation, and is what that rejects with.
 */
async function operateAndReport({ signal, running, report }, begin) {
  if (!report) return operate({ signal, running }, begin);
  const leash = new Leash(signal, running, new native.Cancel());
  const reports = new native.Reports();
  let thrown;
  const tell = () => {
    for (const news of reports.take()) {
      if (thrown || leash.aborted) return;
      try {
        report(Object.freeze(news));
      } catch (error) {
        thrown = { error };
        leash.kill();
      }
    }
  };
  try {
    return await settled(() => begin(leash.native, reports, tell));
  } finally {
    leash.release();
    // The last ones; the promise may have been faster.
    tell();
    if (thrown) throw thrown.error;
    leash.throwIfAborted();
  }
}

module.exports = { operate, operateAndReport };
