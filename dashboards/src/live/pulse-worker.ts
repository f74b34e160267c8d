// Beats once a second. A page's own timers are held back to one a minute while its tab is hidden; a worker's are not.
const BEAT_MS = 1000;

setInterval(() => postMessage(null), BEAT_MS);
