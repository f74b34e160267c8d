// Plain old script, run before the application: tells the user of a browser that cannot run it, instead of a blank page.
(function () {
  var modern = 'noModule' in HTMLScriptElement.prototype && typeof Promise.any === 'function' &&
    typeof String.prototype.replaceAll === 'function' && typeof EventSource === 'function' &&
    typeof Intl === 'object' && typeof ResizeObserver === 'function';
  if (modern) return;
  document.addEventListener('DOMContentLoaded', function () {
    document.getElementById('too-old').hidden = false;
  });
})();
