import { redirect } from "next/navigation";

/** There is one page. */
export default function Home(): never {
  redirect("/deployment");
}
