// The page is asked for again and again, and what has changed in it is
// changed here, so that nothing flickers, and neither focus nor selection
// is lost. The times that it counts are counted on from the last answer.

(function () {
    "use strict";

    const REFRESH_SECONDS = 5;
    let since = performance.now();
    let failed = false;

    function duration(seconds) {
        const s = Math.max(0, Math.floor(seconds));
        const pad = (n) => String(n).padStart(2, "0");
        if (s >= 86400) {
            return `${Math.floor(s / 86400)} d ` +
                `${Math.floor(s % 86400 / 3600)} h`;
        }
        if (s >= 3600) {
            return `${Math.floor(s / 3600)} h ` +
                `${pad(Math.floor(s % 3600 / 60))} min`;
        }
        return s >= 60 ? `${Math.floor(s / 60)} min ${pad(s % 60)} s`
            : `${s} s`;
    }

    function setText(node, text) {
        if (node.textContent !== text) {
            node.textContent = text;
        }
    }

    function count() {
        const passed = (performance.now() - since) / 1000;
        for (const node of document.querySelectorAll("[data-left]")) {
            setText(node, duration(node.dataset.left - passed));
        }
        if (failed) {
            const fresh = document.querySelector(".fresh");
            fresh.classList.add("lost");
            setText(fresh, "No answer from the gateway: this is what it " +
                `said ${duration(passed)} ago.`);
        }
    }

    function patch(from, to) {
        if (from.nodeType !== to.nodeType || from.nodeName !== to.nodeName) {
            from.replaceWith(document.importNode(to, true));
            return;
        }
        if (from.nodeType !== Node.ELEMENT_NODE) {
            if (from.nodeValue !== to.nodeValue) {
                from.nodeValue = to.nodeValue;
            }
            return;
        }
        for (const { name } of [...from.attributes]) {
            if (!to.hasAttribute(name)) {
                from.removeAttribute(name);
            }
        }
        for (const { name, value } of to.attributes) {
            if (from.getAttribute(name) !== value) {
                from.setAttribute(name, value);
            }
        }
        // what is counted here would jump back and on again
        if (from.hasAttribute("data-left")) {
            return;
        }
        const old = [...from.childNodes];
        const next = [...to.childNodes];
        next.forEach((node, i) => {
            if (i < old.length) {
                patch(old[i], node);
            } else {
                from.append(document.importNode(node, true));
            }
        });
        old.slice(next.length).forEach((node) => node.remove());
    }

    async function refresh() {
        if (document.hidden) {
            return;
        }
        try {
            const asked = performance.now();
            const url = location.pathname + location.search;
            const answer = await fetch(url, {
                cache: "no-store",
                headers: { Accept: "text/html" },
                signal: AbortSignal.timeout(REFRESH_SECONDS * 1000),
            });
            if (!answer.ok) {
                throw new Error(answer.statusText);
            }
            const page = new DOMParser().parseFromString(
                await answer.text(), "text/html");
            since = asked;
            failed = false;
            setText(document.querySelector("title"), page.title);
            patch(document.querySelector("link[rel=icon]"),
                page.querySelector("link[rel=icon]"));
            for (const part of [".top", "main", "footer"]) {
                patch(document.querySelector(part),
                    page.querySelector(part));
            }
        } catch {
            failed = true;
        }
        count();
    }

    setInterval(count, 1000);
    setInterval(refresh, REFRESH_SECONDS * 1000);
    document.addEventListener("visibilitychange", refresh);
    count();
})();
