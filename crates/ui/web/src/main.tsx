import "./styles/tokens.css";
import "./styles/base.css";
import "./styles/pages.css";

import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { ApiError } from "./api/client";
import { App, Guard } from "./app";
import { fromHash } from "./router";

const client = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 10_000,
      refetchOnWindowFocus: false,
      retry: (failures, error) => failures < 2 && error instanceof ApiError && (error.status === 0 || error.status === 429 || error.status >= 502),
    },
  },
});

if (location.hash.startsWith("#/")) {
  const to = fromHash(location.hash);
  if (to) location.replace(to);
}

createRoot(document.getElementById("root")!).render(
  <StrictMode>
    <QueryClientProvider client={client}>
      <Guard>
        <App />
      </Guard>
    </QueryClientProvider>
  </StrictMode>,
);
