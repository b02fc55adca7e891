"""What the drawn leases and letters say. Every person, place and number is invented."""

from __future__ import annotations

LEASE_CLAUSES: tuple[tuple[str, str], ...] = (
    (
        "Parties and premises",
        (
            "This agreement is made between {landlord}, whose office is at {office} (the "
            "Landlord), and {tenants} (the Tenant). The Landlord lets and the Tenant takes the "
            "dwelling known as {premises}, together with one storage locker in the basement and "
            "the right to use the halls, stairs and laundry room in common with other occupants."
        ),
    ),
    (
        "Term",
        (
            "The tenancy begins at noon on {start} and ends at noon on {end}. If the Tenant stays "
            "on with the Landlord's consent after that day and no new agreement has been signed, "
            "the tenancy continues from month to month on the same terms until either party ends "
            "it by written notice of at least thirty days, expiring on the last day of a month."
        ),
    ),
    (
        "Rent",
        (
            "The rent is {rent} a month, due in advance on the first day of each month. Rent may "
            "be paid by bank transfer, by money order or at the Landlord's office during opening "
            "hours, and the Landlord will give a receipt for every payment made in cash. When the "
            "tenancy begins on a day other than the first, the rent for that month is reduced in "
            "proportion to the days elapsed."
        ),
    ),
    (
        "Late payment",
        (
            "Rent that has not been received by the end of the fifth day after it is due is late. "
            "The Landlord may then charge a single fee of {late} for that month. The fee is not "
            "interest and is not charged again on the same unpaid sum. Payments are counted first "
            "against the oldest rent outstanding, and only then against fees."
        ),
    ),
    (
        "Security deposit",
        (
            "On signing, the Tenant pays a deposit of {deposit}. The Landlord holds it in a "
            "separate account and returns it within twenty-one days of the end of the tenancy, "
            "less the reasonable cost of repairing damage beyond ordinary wear and any unpaid "
            "rent. The Landlord will list every deduction in writing. The deposit may not be used "
            "by the Tenant as the last month's rent."
        ),
    ),
    (
        "Services and utilities",
        (
            "The Landlord provides cold water, the removal of household waste and heating from "
            "the first of October to the thirtieth of April. The Tenant arranges and pays for "
            "electricity, telephone and any data service. The Landlord is not answerable for an "
            "interruption that neither party could have prevented, but will act promptly to have "
            "the service restored."
        ),
    ),
    (
        "Use and occupants",
        (
            "The premises are to be used only as the home of the Tenant and of the persons named "
            "in the schedule. A guest may stay for up to fourteen days in any three months. No "
            "business that brings customers, deliveries in bulk or noise to the building may be "
            "carried on there. The Tenant will not assign this agreement or sublet any part of "
            "the premises without the Landlord's written consent."
        ),
    ),
    (
        "Condition, repairs and alterations",
        (
            "The parties have inspected the premises together and signed a record of their "
            "condition. The Landlord keeps the structure, the roof, the pipes and wiring and the "
            "appliances listed in the schedule in good repair. The Tenant keeps the premises "
            "clean, reports defects without delay and makes good any damage caused by neglect. "
            "The Tenant will not paint, change a lock or drill into tile or stone unless the "
            "Landlord has agreed to it in writing."
        ),
    ),
    (
        "Entry by the Landlord",
        (
            "Except in an emergency the Landlord will enter only between nine in the morning and "
            "six in the evening and after at least twenty-four hours' notice stating the reason. "
            "In the last month of the tenancy the Landlord may show the premises to persons who "
            "wish to rent them, at times agreed with the Tenant."
        ),
    ),
    (
        "Quiet and animals",
        (
            "The Tenant and the Tenant's guests will not disturb others in the building, and will "
            "keep music and machines low between ten at night and seven in the morning. One cat, "
            "or one dog of less than twelve kilograms, may be kept if it is registered with the "
            "Landlord. Animals that assist a person with a disability are always allowed."
        ),
    ),
    (
        "Smoke alarms and safety",
        (
            "The Landlord has fitted a smoke alarm in every bedroom and in the hall, and a carbon "
            "monoxide alarm near the boiler. The Tenant tests them monthly, replaces batteries as "
            "needed and does not disconnect them. Bicycles, furniture and refuse are not left on "
            "stairs or landings, which must be clear at all times as a way out."
        ),
    ),
    (
        "Ending the tenancy",
        (
            "If the Tenant breaks an important term and does not put the matter right within "
            "fourteen days of a written notice describing it, the Landlord may apply to the court "
            "to end the tenancy. The Tenant may end it early by sixty days' notice and payment of "
            "one month's rent. On leaving, the Tenant returns every key, removes all belongings "
            "and gives a forwarding address for the deposit."
        ),
    ),
    (
        "Notices",
        (
            "A notice under this agreement is in writing. It may be handed over, put under the "
            "Tenant's door, sent by ordinary post or, where both parties have agreed to it, sent "
            "by electronic mail. A posted notice is taken to arrive on the third working day."
        ),
    ),
    (
        "Whole agreement",
        (
            "This document and its schedule are the whole agreement of the parties and replace "
            "anything said or written before it. A change counts only when both have signed it. "
            "If a court finds that a term cannot be enforced, the other terms stand. Each party "
            "has received a signed copy."
        ),
    ),
)

BENEFITS: tuple[str, ...] = (
    "Dear Ms. Vexley,",
    (
        "We have reviewed your application for the Household Supplement received on 14 January "
        "2031. You qualify. Your supplement begins on 1 February 2031 and is paid on the fourth "
        "working day of each month to the account ending in 0000."
    ),
    (
        "The table below shows how we worked out the amount. If your income, your rent or the "
        "number of people in your home changes, tell us within ten days. A change may raise or "
        "lower your supplement, and sums paid in error have to be paid back."
    ),
    (
        "You do not need to do anything now. Your award will be looked at again in January 2032, "
        "and we will write to you a month before that. Keep this letter: other offices may accept "
        "it as evidence of your address and of the benefit you receive."
    ),
    (
        "If you think this decision is wrong you may ask for it to be reviewed. Write to the "
        "address above within thirty days of the date of this letter and give the case number. "
        "Your payments continue while we look at it. An interpreter is free of charge."
    ),
)

SCHOOL: tuple[str, ...] = (
    "To whom it may concern,",
    (
        "This is to confirm that the pupil named below is enrolled at this school for the school "
        "year 2030-2031 and attends regularly. The details are taken from our register as it "
        "stood on the date of this letter."
    ),
    (
        "The pupil lives at the address shown with the parent or guardian named, who has signed "
        "our residence statement and shown us a lease in support of it. The school bus, route 7, "
        "stops on Paper Lantern Street at 7:42 on school days."
    ),
    (
        "This letter is given at the family's request so that it can be shown to the municipal "
        "ID program. It is valid for ninety days. Questions may be put to the school office on "
        "weekdays between eight and three."
    ),
)

BILL_NOTES: tuple[str, ...] = (
    (
        "How we read your meter. Your meter was read by our staff on the date shown on page 1. "
        "When we cannot reach a meter we estimate the reading from the same month of the year "
        "before, mark it with the letter E, and correct it on the next bill."
    ),
    (
        "Paying your bill. Pay online, by telephone, at any branch of the Larkhaven Penny Bank, or "
        "by post with the slip on page 1. Please write your account number on the back of a cheque. "
        "Allow five working days for a posted payment to arrive."
    ),
    (
        "Trouble paying? Call us before the due date. We offer plans of up to twelve months "
        "without a fee, and households that receive the Household Supplement pay a reduced "
        "service charge. We do not disconnect a home between November and March."
    ),
    (
        "Leaks and outages. Report a burst main, a leak in the street or a loss of power at any "
        "hour. If the supply to your home is interrupted for more than twelve hours without "
        "notice, a credit is added to the next bill without your asking."
    ),
    (
        "Moving? Tell us at least five working days before you leave and read the meter on your "
        "last day. You stay responsible for the account until we have heard from you."
    ),
)
